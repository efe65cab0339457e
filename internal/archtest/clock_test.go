package archtest

import (
	"go/ast"
	"testing"
)

// clockExceptions are the test functions that may measure the time that passes, by file, each with its reason. There is room
// for five.
var clockExceptions = map[string]string{
	"internal/changelog/cluster_test.go now":           "the clock that tests set forward is based on the real one",
	"cmd/bench/internal/proxy/proxy_test.go TestProxy": "a delay that was asked for is a lower bound, which no load can break",
}

const maxClockExceptions = 5

// checkClock finds tests that judge by the clock. How long something takes depends on the machine and on what else it does;
// tests count, order, and take their time from a clock of their own or from a synctest bubble. So no test measures time that
// has passed, which is what it would compare with a constant, and none gives up after a time of its own choice: they wait
// with testenv.Eventually, Receive and UntilHang. In a bubble time is virtual, and all of this is allowed; and benchmarks are
// there to measure.
func checkClock(files []source, exceptions map[string]string) (problems []string) {
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && (exceptions[f.path+" "+fn.Name.Name] != "" || virtual(f, fn) || measures(fn)) {
				continue
			}
			for _, use := range clockUses(decl) {
				problems = append(problems, f.at(use)+": a test judges by the clock; count or order what happens, or use synctest or testenv.Eventually")
			}
		}
	}
	return problems
}

// virtual reports whether a function runs in a synctest bubble, which it or a function of its file that it calls makes.
func virtual(f source, fn *ast.FuncDecl) (found bool) {
	makes := func(fn *ast.FuncDecl) bool { return len(calls(source{ast: fileOf(fn)}, "synctest", "Test")) > 0 }
	helpers := map[string]bool{}
	for _, decl := range f.ast.Decls {
		if helper, ok := decl.(*ast.FuncDecl); ok && helper.Recv == nil && makes(helper) {
			helpers[helper.Name.Name] = true
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			name, named := call.Fun.(*ast.Ident)
			found = found || named && helpers[name.Name]
		}
		return true
	})
	return found || makes(fn)
}

// measures reports whether a function is a benchmark or a part of one.
func measures(fn *ast.FuncDecl) bool {
	for _, param := range fn.Type.Params.List {
		pointer, ok := param.Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		if of, ok := pointer.X.(*ast.SelectorExpr); ok && of.Sel.Name == "B" {
			return true
		}
	}
	return false
}

// fileOf wraps one declaration.
func fileOf(decl ast.Decl) *ast.File {
	return &ast.File{Name: ast.NewIdent("p"), Decls: []ast.Decl{decl}}
}

// clockUses finds where a declaration measures time, or waits for a time to pass.
func clockUses(decl ast.Decl) (found []ast.Node) {
	one := source{ast: fileOf(decl)}
	found = append(found, calls(one, "time", "Since", "Until", "After", "Tick")...)
	found = append(found, calls(one, "context", "WithTimeout", "WithDeadline", "WithTimeoutCause", "WithDeadlineCause")...)
	moments := momentsIn(decl)
	ast.Inspect(decl, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch selector.Sel.Name {
		case "Sub", "Before", "After", "Compare":
			ident, named := selector.X.(*ast.Ident)
			if isNow(selector.X) || named && moments[ident.Name] {
				found = append(found, selector)
			}
		}
		return true
	})
	return found
}

// momentsIn are the variables that hold what time.Now returned.
func momentsIn(decl ast.Decl) map[string]bool {
	moments := map[string]bool{}
	ast.Inspect(decl, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != len(assign.Rhs) {
			return true
		}
		for i, value := range assign.Rhs {
			if ident, ok := assign.Lhs[i].(*ast.Ident); ok && isNow(value) {
				moments[ident.Name] = true
			}
		}
		return true
	})
	return moments
}

// isNow reports whether an expression is time.Now(), perhaps with methods called on it, such as Add.
func isNow(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if pkg, ok := selector.X.(*ast.Ident); ok {
		return pkg.Name == "time" && selector.Sel.Name == "Now"
	}
	return selector.Sel.Name == "Add" && isNow(selector.X)
}

func TestClock(t *testing.T) {
	t.Parallel()
	report(t, checkClock(repository(t), clockExceptions))
	if len(clockExceptions) > maxClockExceptions {
		t.Errorf("exceptions: got %d, want at most %d", len(clockExceptions), maxClockExceptions)
	}
}

func TestClock_SeesProblems(t *testing.T) {
	t.Parallel()
	const text = `package p

func TestSlow(t *testing.T) {
	begun := time.Now()
	if time.Since(begun) > time.Second { // line 5
	}
	ended := time.Now()
	if ended.Sub(begun) > time.Second || time.Now().Sub(begun) > 1 { // line 8, twice
	}
	for deadline := time.Now().Add(5); time.Now().Before(deadline); { // line 10
	}
	select {
	case <-time.After(time.Second): // line 13
	case <-done:
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // line 16
}

func TestVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if time.Since(begun) > time.Second {
		}
	})
}

func inBubble(t *testing.T, f func()) {
	synctest.Test(t, func(*testing.T) { f() })
}

func TestInHelpersBubble(t *testing.T) {
	inBubble(t, func() { time.Since(begun) })
}

func TestExcepted(t *testing.T) { time.Since(begun) }

func BenchmarkIt(b *testing.B) { time.Since(begun) }

func TestInjected(t *testing.T) {
	at := time.Now()
	clock.Set(at.Add(time.Hour))
	if text.After("x") || clock.Now().Before(at) {
	}
}
`
	problems := checkClock(example(t, "p/p_test.go", text), map[string]string{"p/p_test.go TestExcepted": "an example"})
	mustFind(t, problems, "p_test.go:5:", "p_test.go:8:", "p_test.go:8:", "p_test.go:10:", "p_test.go:13:", "p_test.go:16:")
	mustFind(t, checkClock(example(t, "p/p.go", text), nil)) // the product may
}
