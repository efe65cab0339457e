package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	maxFileLines     = 400
	maxProgramLines  = 600 // of server.go: every flag of every command is in this one file
	maxFunctionLines = 80
	// maxCacheNames keeps the cache deep: few names over much work.
	maxCacheNames = 26
)

// source is one parsed Go file that a person has written.
type source struct {
	path  string
	lines int
	test  bool
	set   *token.FileSet
	ast   *ast.File
}

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(n.Pos()).Line)
}

// sources reads the Go files of a tree, but for generated ones and those that npm has brought.
func sources(t *testing.T, tree fs.FS) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := path.Base(name); base == "node_modules" || base != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		s := source{path: name, lines: strings.Count(string(text), "\n"), test: strings.HasSuffix(name, "_test.go"), set: token.NewFileSet()}
		if s.ast, err = parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		if !ast.IsGenerated(s.ast) {
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func repository(t *testing.T) []source {
	t.Helper()
	return sources(t, os.DirFS("../.."))
}

// example parses one file that breaks a rule.
func example(t *testing.T, name, text string) []source {
	t.Helper()
	return sources(t, fstest.MapFS{name: {Data: []byte(text)}})
}

func checkSizes(files []source) (problems []string) {
	for _, f := range files {
		if f.test {
			continue
		}
		limit := maxFileLines
		if f.path == "server.go" {
			limit = maxProgramLines
		}
		if f.lines > limit {
			problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d", f.path, f.lines, limit))
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; lines > maxFunctionLines {
				problems = append(problems, fmt.Sprintf("%s: %s has %d lines, more than %d", f.at(fn), fn.Name, lines, maxFunctionLines))
			}
		}
	}
	return problems
}

// checkInit finds what runs before main without anybody calling it.
func checkInit(files []source) (problems []string) {
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				problems = append(problems, f.at(fn)+": func init")
			}
		}
	}
	return problems
}

// checkSettings sees to it that flags and environment are read where programs begin: in server.go, and in the
// programs for developers under cmd. Tests may read what they like.
func checkSettings(files []source) (problems []string) {
	for _, f := range files {
		if f.test || floors[path.Dir(f.path)] == testOnly || f.path == "server.go" || strings.HasPrefix(f.path, "cmd/") {
			continue
		}
		for _, spec := range f.ast.Imports {
			if spec.Path.Value == `"flag"` {
				problems = append(problems, f.at(spec)+": imports flag, which is for server.go")
			}
		}
		for _, call := range calls(f, "os", "Getenv", "LookupEnv", "Environ", "ExpandEnv") {
			problems = append(problems, f.at(call)+": reads the environment, which is for server.go")
		}
	}
	return problems
}

// checkSleep finds tests that hope that something has happened by now. In a synctest bubble a sleep ends when all else waits.
func checkSleep(files []source) (problems []string) {
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && virtual(f, fn) {
				continue
			}
			for _, call := range calls(source{ast: fileOf(decl)}, "time", "Sleep") {
				problems = append(problems, f.at(call)+": a test sleeps; wait for what it waits for")
			}
		}
	}
	return problems
}

// calls finds the uses of a package's functions.
func calls(f source, pkg string, names ...string) (found []ast.Node) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && of.Name == pkg {
			for _, name := range names {
				if selector.Sel.Name == name {
					found = append(found, selector)
				}
			}
		}
		return true
	})
	return found
}

// name is an exported name that a package declares, and its comment.
type name struct {
	where, name string
	method      bool
	documented  bool
}

func exported(f source) (names []name) {
	add := func(n ast.Node, ident *ast.Ident, method bool, docs ...*ast.CommentGroup) {
		if !ident.IsExported() {
			return
		}
		documented := false
		for _, doc := range docs {
			documented = documented || strings.TrimSpace(doc.Text()) != ""
		}
		names = append(names, name{f.at(n), ident.Name, method, documented})
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				add(d, d.Name, d.Recv != nil, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					add(s, s.Name, false, s.Doc, d.Doc)
				case *ast.ValueSpec:
					for _, ident := range s.Names {
						add(s, ident, false, s.Doc, s.Comment, d.Doc)
					}
				}
			}
		}
	}
	return names
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// checkDocs wants a comment at every exported name, and at every package.
func checkDocs(files []source) (problems []string) {
	packages := map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		packages[path.Dir(f.path)] = packages[path.Dir(f.path)] || f.ast.Doc.Text() != ""
		for _, n := range exported(f) {
			if !n.documented {
				problems = append(problems, n.where+": "+n.name+" has no comment")
			}
		}
	}
	for dir, documented := range packages {
		if !documented {
			problems = append(problems, "package "+dir+" has no comment")
		}
	}
	return problems
}

// checkCacheNames counts what the package cache exports, methods aside.
func checkCacheNames(files []source) (problems []string) {
	var names []string
	for _, f := range files {
		if f.test || path.Dir(f.path) != "cache" {
			continue
		}
		for _, n := range exported(f) {
			if !n.method {
				names = append(names, n.name)
			}
		}
	}
	if len(names) > maxCacheNames {
		problems = append(problems, fmt.Sprintf("cache exports %d names, more than %d: %s", len(names), maxCacheNames, strings.Join(names, " ")))
	}
	return problems
}

func TestSource(t *testing.T) {
	t.Parallel()
	files := repository(t)
	if len(files) == 0 {
		t.Fatal("files: got none, want the repository's")
	}
	for rule, check := range map[string]func([]source) []string{
		"Sizes": checkSizes, "NoInit": checkInit, "Settings": checkSettings, "NoSleep": checkSleep, "Docs": checkDocs, "CacheNames": checkCacheNames,
	} {
		t.Run(rule, func(t *testing.T) { report(t, check(files)) })
	}
}

func TestSource_SeesProblems(t *testing.T) {
	t.Parallel()
	long := "package p\n\nfunc f() {\n" + strings.Repeat("\tf()\n", maxFileLines) + "}\n"
	mustFind(t, checkSizes(example(t, "p/long.go", long)), "p/long.go has 404 lines", "p/long.go:3: f has 402 lines")
	mustFind(t, checkSizes(example(t, "p/fits.go", "package p\n\nfunc f() {\n"+strings.Repeat("\tf()\n", maxFunctionLines-2)+"}\n")))
	mustFind(t, checkSizes(example(t, "p/made.go", "// Code generated by x. DO NOT EDIT.\n\n"+long)))
	mustFind(t, checkInit(example(t, "p/p.go", "package p\n\nfunc init() {}\n")), "p/p.go:3: func init")
	mustFind(t, checkSettings(example(t, "p/p.go", "package p\n\nimport (\n\t\"flag\"\n\t\"os\"\n)\n\nvar x, y = flag.Bool, os.Getenv(\"X\")\n")),
		"p/p.go:4: imports flag", "p/p.go:8: reads the environment")
	mustFind(t, checkSettings(example(t, "server.go", "package main\n\nimport \"os\"\n\nvar x = os.Getenv(\"X\")\n")))
	mustFind(t, checkSleep(example(t, "p/p_test.go", "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n")), "p/p_test.go:5")
	mustFind(t, checkDocs(example(t, "p/p.go", "package p\n\ntype T[K any] struct{}\n\nfunc (t *T[K]) M() {}\n\n// C is fine.\nconst C = 1\n\ntype u int\n\nfunc (u) String() string { return \"\" }\n")),
		"T has no comment", "M has no comment", "package p has no comment")
	wide := "package cache\n"
	for i := range maxCacheNames + 1 {
		wide += fmt.Sprintf("\ntype T%d int\n", i)
	}
	mustFind(t, checkCacheNames(example(t, "cache/c.go", wide)), fmt.Sprintf("cache exports %d names", maxCacheNames+1))
}
