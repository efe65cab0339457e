package server

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hooks are where a request that nobody inspects meets the inspector, each with what stands there without one.
var hooks = map[string][][2]string{
	"cache/explain.go": {
		{"return ctx.Value(explainKey{}) != nil", "return false"},
		{"of, ok := ctx.Value(statementsKey{}).(*statements); ok", "of, ok := (*statements)(nil), false; ok"},
	},
	"internal/inspect/inspect.go":   {{"r, _ := ctx.Value(recorderKey{}).(*Recorder)\n\treturn r", "return nil"}},
	"internal/server/endpoint.go":   {{"how := e.inspectionOf(r.Header[debugHeader], viewer); how.on", "how := (inspection{}); how.on"}},
	"internal/server/sqlmetrics.go": {{"\tcache.Stated(ctx, stated)\n\tinspect.From(ctx).Stated(stated)\n", "\t_ = inspect.From\n"}},
}

// BenchmarkInspectorOff runs BenchmarkExecute of this package, and over a whole instance, as they are and built without the
// inspector, in turns, and compares the least of each figure: what else the machine does only adds.
func BenchmarkInspectorOff(b *testing.B) {
	overlay := withoutInspector(b)
	for _, pkg := range []string{"server", "command"} {
		b.Run(pkg, func(b *testing.B) {
			with, without := buildTest(b, pkg), buildTest(b, pkg, "-overlay", overlay)
			figures := map[string][2][]float64{}
			const rounds = 10
			for b.Loop() {
				for i := range 2 * rounds {
					side := (i + i/2) % 2 // with, without, without, with, …
					for unit, value := range runExecute(b, pkg, []string{with, without}[side]) {
						both := figures[unit]
						both[side] = append(both[side], value...)
						figures[unit] = both
					}
				}
			}
			for _, unit := range slices.Sorted(maps.Keys(figures)) {
				with, without := slices.Min(figures[unit][0]), slices.Min(figures[unit][1])
				b.Logf("%s: %.0f %s, without the inspector %.0f: ratio %.4f", pkg, with, unit, without, with/without)
				b.ReportMetric(with/without, "ratio-of-"+strings.TrimSuffix(unit, "/op"))
			}
			b.ReportMetric(0, "ns/op") // that of all rounds says nothing
		})
	}
}

// withoutInspector writes an overlay for the go command.
func withoutInspector(b *testing.B) (path string) {
	b.Helper()
	directory, replace := b.TempDir(), map[string]string{}
	for name, changes := range hooks {
		original, err := filepath.Abs(filepath.Join("..", "..", name))
		if err != nil {
			b.Fatal(err)
		}
		text, err := os.ReadFile(original)
		if err != nil {
			b.Fatal(err)
		}
		for _, change := range changes {
			if strings.Count(string(text), change[0]) != 1 {
				b.Fatalf("%s: got %q not once, want the hook to be where it was", name, change[0])
			}
			text = []byte(strings.Replace(string(text), change[0], change[1], 1))
		}
		replace[original] = filepath.Join(directory, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(replace[original], text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		b.Fatal(err)
	}
	path = filepath.Join(directory, "overlay.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func buildTest(b *testing.B, pkg string, flags ...string) (program string) {
	b.Helper()
	program = filepath.Join(b.TempDir(), "test")
	args := append([]string{"test", "-c", "-o", program}, flags...)
	if said, err := exec.Command("go", append(args, "freshet/internal/"+pkg)...).CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, said)
	}
	return program
}

var figure = regexp.MustCompile(`([0-9.]+) ((?:ns|cpu-ns|B|allocs)/op)`)

func runExecute(b *testing.B, pkg, program string) map[string][]float64 {
	b.Helper()
	run := exec.Command(program, "-test.run", "^$", "-test.bench", "^BenchmarkExecute$", "-test.benchtime", "200ms", "-test.count", "5", "-test.cpu", "1")
	run.Dir = filepath.Join("..", pkg)
	said, err := run.CombinedOutput()
	if err != nil {
		b.Fatalf("run: %v\n%s", err, said)
	}
	found := map[string][]float64{}
	for _, one := range figure.FindAllStringSubmatch(string(said), -1) {
		value, err := strconv.ParseFloat(one[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		found[one[2]] = append(found[one[2]], value)
	}
	if len(found) != 4 {
		b.Fatalf("got %s, want four figures", said)
	}
	return found
}
