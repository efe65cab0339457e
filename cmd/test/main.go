// Command test runs the tests against one set of servers, and ends its output with the slowest and the failed ones.
//
// All arguments but its own flag go to go test. With -without-servers it runs those tests alone that need no server and
// no browser: the others skip themselves, which in a whole run is a failure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"gotest.tools/gotestsum/testjson"

	"freshet/internal/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run returns an error if a test failed, or if the tests could not be run.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	withoutServers := len(args) > 0 && args[0] == "-without-servers"
	environment := os.Environ()
	if withoutServers {
		args = append([]string{"-short"}, args[1:]...)
	} else {
		setting, stop, err := testenv.Share()
		if err != nil {
			return fmt.Errorf("start the servers of the tests: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		environment = append(environment, setting)
	}
	tests, err := goTest(ctx, args, environment, out)
	if err != nil {
		return err
	}
	return report(out, tests, withoutServers)
}

// goTest prints a line for each package that has ended, and returns what all of them did.
func goTest(ctx context.Context, args, environment []string, out io.Writer) (*testjson.Execution, error) {
	const patience = 10 * time.Second // to report what was interrupted
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Env, cmd.WaitDelay = environment, patience
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start go test: %w", err)
	}
	tests, err := testjson.ScanTestOutput(testjson.ScanConfig{
		Stdout: stdout, Stderr: stderr, IgnoreNonJSONOutputLines: true,
		Handler: progress{testjson.NewEventFormatter(out, "pkgname", testjson.FormatOptions{HideEmptyPackages: true, Icons: "text"}), out},
	})
	ended := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(ended, &exit) && err == nil && ctx.Err() == nil && (len(tests.Failed())+len(tests.Errors()) > 0 || anyFailed(tests)) {
		ended = nil // the report says what failed
	}
	return tests, errors.Join(err, ended, ctx.Err())
}

// progress prints.
type progress struct {
	testjson.EventFormatter
	out io.Writer
}

func (p progress) Event(event testjson.TestEvent, tests *testjson.Execution) error {
	return p.Format(event, tests)
}

// Err prints what go test says beside the results, such as why a package does not compile.
func (p progress) Err(text string) error {
	if strings.HasPrefix(text, "go: downloading ") {
		return nil
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

// anyFailed reports whether a package failed, perhaps without a test that did.
func anyFailed(tests *testjson.Execution) bool {
	return slices.ContainsFunc(tests.Packages(), func(name string) bool { return tests.Package(name).Result() == testjson.ActionFail })
}

// report prints what was slow, then each failed test with its own output, and at last how many there were. A test that
// skipped itself has failed, unless that was asked for.
func report(out io.Writer, tests *testjson.Execution, mayskip bool) error {
	reportSlowest(out, tests)
	fmt.Fprintln(out)
	sections := testjson.SummarizeFailed | testjson.SummarizeErrors | testjson.SummarizeOutput
	if !mayskip {
		sections |= testjson.SummarizeSkipped
	}
	testjson.PrintSummary(out, tests, sections)
	failed, skipped := len(testjson.FilterFailedUnique(tests.Failed())), len(tests.Skipped())
	passed := tests.Total() - len(tests.Failed()) - skipped
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case failed+len(tests.Errors()) > 0 || anyFailed(tests):
		return errors.New("some tests failed")
	case skipped > 0 && !mayskip:
		return errors.New("some tests skipped themselves: make tools installs what they need")
	}
	return nil
}

// reportSlowest prints the ten packages and the ten tests that took longest. Tests run side by side: their times add up to more
// than their package's.
func reportSlowest(out io.Writer, tests *testjson.Execution) {
	type timed struct {
		name string
		took time.Duration
	}
	var packages, cases []timed
	for _, name := range tests.Packages() {
		p := tests.Package(name)
		packages = append(packages, timed{testjson.RelativePackagePath(name), p.Elapsed()})
		for _, one := range p.TestCases() {
			if !one.Test.IsSubTest() {
				cases = append(cases, timed{testjson.RelativePackagePath(name) + " " + one.Test.Name(), one.Elapsed})
			}
		}
	}
	for _, list := range []struct {
		title string
		all   []timed
	}{{"Slowest packages", packages}, {"Slowest tests", cases}} {
		const shown = 10
		slices.SortFunc(list.all, func(a, b timed) int { return int(b.took - a.took) })
		fmt.Fprintf(out, "\n%s\n", list.title)
		for _, one := range list.all[:min(shown, len(list.all))] {
			fmt.Fprintf(out, "%7.1f s  %s\n", one.took.Seconds(), one.name)
		}
	}
}
