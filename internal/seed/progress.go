package seed

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far one step is: as a bar on a terminal, as a line at its end elsewhere.
type progress struct {
	out   io.Writer
	name  string
	done  int
	start time.Time
	bar   *progressbar.ProgressBar // nil: not a terminal
}

func newProgress(out io.Writer, name string, total int) *progress {
	p := &progress{out: out, name: name, start: time.Now()}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(fmt.Sprintf("%-8s", name)),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) }),
		)
	}
	return p
}

func (p *progress) advance(n int) {
	p.done += n
	if p.bar != nil {
		_ = p.bar.Add(n) // a terminal that cannot be written to is no reason to stop
	}
}

func (p *progress) end() {
	if p.bar == nil && p.out != nil {
		fmt.Fprintf(p.out, "%s: %d in %.1f s\n", p.name, p.done, time.Since(p.start).Seconds())
	}
}
