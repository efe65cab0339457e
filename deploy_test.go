package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// variables are the environment variables of ours in a text.
func variables(text string) []string {
	found := regexp.MustCompile(`\b(?:FRESHET_[A-Z_]+|DATABASE_URL|REDIS_URL|OTEL_[A-Z_]+)\b`).FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func unknownVariables(text, help string) (unknown []string) {
	known := variables(help)
	for _, name := range variables(text) {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// What deploy/ sets is what serve reads.
func TestDeploy_SetsVariablesThatExist(t *testing.T) {
	t.Parallel()
	help := output(t, "serve", "-h")
	files := 0
	err := filepath.WalkDir("deploy", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".conf", ""}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if unknown := unknownVariables(string(text), help); len(unknown) > 0 {
			t.Errorf("%s: sets %s, which serve does not read", path, strings.Join(unknown, ", "))
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("got %d files, %v, want those of deploy", files, err)
	}
	if got := unknownVariables("FRESHET_ADDR: x\nFRESHET_ADRR: y", help); len(got) != 1 || got[0] != "FRESHET_ADRR" {
		t.Errorf("in an example: got %q, want the one that does not exist", got)
	}
}
