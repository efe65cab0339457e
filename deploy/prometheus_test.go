package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkRules has promtool read the rules, and run tests of them, which compare every firing of every alert.
func checkRules(t *testing.T, tests string) func(text string) error {
	return func(text string) error {
		dir := t.TempDir()
		for name, content := range map[string]string{
			"rules.yml": text, "rules_test.yml": tests, "prometheus.yml": read(t, "prometheus/prometheus.yml"),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "rules_test.yml"}} {
			cmd := exec.Command("promtool", args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("promtool %s: %w: %s", args[0], err, out)
			}
		}
		return nil
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	rules, tests := read(t, "prometheus/rules.yml"), read(t, "prometheus/rules_test.yml")
	if err := checkRules(t, tests)(rules); err != nil {
		t.Errorf("got %v, want no problem", err)
	}
	// Each of these is seen by one test, and promtool takes its time for all.
	for _, broken := range []struct{ test, old, with string }{
		{"FreshetNoGrant", "expr: freshet_log_granted == 0", "expr: freshet_log_granted === 0"},
		{"FreshetNoGrant", "expr: freshet_log_granted == 0", "expr: freshet_log_granted == 1"},
		{"FreshetHitRateLow", "ratio:rate5m < 0.8", "ratio:rate5m < 0.6"},
		{"all is well", "ratio:rate5m < 0.8", "ratio:rate5m < 0.95"},
		{"FreshetOldTransaction", "seconds) > 60", "seconds) > 6000"},
		{"FreshetRedisMemoryNearLimit", "> 0.9\n", "> 0.99\n"},
		{"FreshetDown", "severity: page", "severity: ticket"},
	} {
		if err := checkRules(t, only(t, tests, broken.test))(replaced(t, rules, broken.old, broken.with)); err == nil {
			t.Errorf("with %q for %q: got no problem from %q, want one", broken.with, broken.old, broken.test)
		}
	}
}

// only is a file of tests with one of them.
func only(t *testing.T, tests, name string) string {
	t.Helper()
	const begin = "  - name: "
	head, _, _ := strings.Cut(tests, begin)
	for one := range strings.SplitSeq(tests, begin) {
		if strings.HasPrefix(one, name+"\n") {
			return head + begin + one
		}
	}
	t.Fatalf("there is no test %q", name)
	return ""
}

// checkAlerts wants each alert to be tested, and to lead to a place in the runbook.
func checkAlerts(rules, tests, runbook string) error {
	var problems []error
	for _, found := range regexp.MustCompile(`(?s)- alert: (\w+)(.*?runbook_url: (\S+))`).FindAllStringSubmatch(rules, -1) {
		name, link := found[1], found[3]
		if !strings.Contains(tests, "- name: "+name+"\n") {
			problems = append(problems, fmt.Errorf("%s is never seen to fire", name))
		}
		if !strings.Contains(runbook, "\n### "+name+"\n") || link != "docs/operations.md#"+strings.ToLower(name) {
			problems = append(problems, fmt.Errorf("%s: %s leads nowhere", name, link))
		}
	}
	if strings.Count(rules, "- alert: ") != strings.Count(rules, "runbook_url: ") {
		problems = append(problems, errors.New("an alert has no runbook"))
	}
	return errors.Join(problems...)
}

func TestAlerts_HaveTestsAndRunbooks(t *testing.T) {
	t.Parallel()
	tests, runbook := read(t, "prometheus/rules_test.yml"), read(t, "../docs/operations.md")
	check := func(rules string) error { return checkAlerts(rules, tests, runbook) }
	wantValid(t, read(t, "prometheus/rules.yml"), check,
		[2]string{"- alert: FreshetDown", "- alert: FreshetUp"},
		[2]string{"#freshetdown", "#freshetup"},
		[2]string{"          runbook_url: docs/operations.md#freshetdown\n", ""},
	)
}
