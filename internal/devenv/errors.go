package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// diskFull is what the servers print of ENOSPC.
const diskFull = "No space left on device"

// explain turns a failure into one sentence. The output is what the failed program has printed; the disk that holds
// dir is what can be full.
func explain(doing, dir, output string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || strings.Contains(output, diskFull) {
		return fmt.Errorf("%s: the disk that holds %s is full: free some space and start again", doing, dir)
	}
	if reason := lastComplaint(output); reason != "" {
		return fmt.Errorf("%s: %s", doing, reason)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// lastComplaint picks the line that says why a server gave up, or the last one where none stands out.
func lastComplaint(output string) string {
	lines := strings.FieldsFunc(strings.TrimSpace(output), func(r rune) bool { return r == '\n' })
	for i := len(lines) - 1; i >= 0; i-- {
		for _, mark := range []string{"FATAL:", "PANIC:", "FATAL CONFIG FILE ERROR", "initdb: error:", "Failed listening", "# Could not"} {
			if at := strings.Index(lines[i], mark); at >= 0 {
				return strings.TrimSpace(strings.TrimPrefix(lines[i][at:], mark))
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

// tail reads the end of a log, for a reason to show.
func tail(path string) string {
	const enough = 8 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(bytes.ToValidUTF8(text[max(0, len(text)-enough):], []byte("?")))
}
