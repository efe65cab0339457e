package command

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/uptrace/bun"

	"freshet/internal/manifest"
	"freshet/internal/operation"
	"freshet/internal/persisted"
	"freshet/internal/policy"
	"freshet/resolvers"
)

// PersistedOptions say which persisted operations a command is about, and where it reads and writes.
type PersistedOptions struct {
	DatabaseURL string
	App, Build  string
	In          io.Reader
	Out         io.Writer
	JSON        bool
}

// demo is what a small app would publish; seed does it, so that there is something to look at and to ask for.
//
//go:embed demo.json
var demo []byte

// publishDemo makes build 1.0.0 of the app demo.
func publishDemo(ctx context.Context, url string) error {
	list, err := manifest.Read(demo)
	if err != nil {
		return err
	}
	return PersistedOptions{DatabaseURL: url}.withRegistry(ctx, func(r *persisted.Registry) error {
		_, err := r.Publish(ctx, persisted.Publication{App: "demo", Version: "1.0.0", Manifest: list, Activate: true})
		return err
	})
}

// withRegistry lends do the list of persisted operations, as this release's schema understands them.
func (o PersistedOptions) withRegistry(ctx context.Context, do func(*persisted.Registry) error) error {
	table, err := Policy()
	if err != nil {
		return err
	}
	return withDatabase(o.DatabaseURL, func(db *bun.DB) error {
		if err := requireSchema(ctx, db); err != nil {
			return err
		}
		schema := resolvers.New(nil, nil, nil, nil).Schema().Schema()
		return do(&persisted.Registry{DB: db, Compiler: operation.NewCompiler(operation.Options{Schema: schema, Policy: table})})
	})
}

// writeJSON prints one JSON document for people and programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// write prints a result as JSON, or as do does.
func (o PersistedOptions) write(result any, do func(w io.Writer)) error {
	if o.JSON {
		return writeJSON(o.Out, result)
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	do(w)
	return w.Flush()
}

// PublishPersisted adds a manifest's operations to a build, and says how each can be cached. The file "-" is In.
func PublishPersisted(ctx context.Context, o PersistedOptions, file string, activate bool) error {
	text, file, err := readInput(file, o.In)
	if err != nil {
		return err
	}
	list, err := manifest.Read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		report, err := r.Publish(ctx, persisted.Publication{App: o.App, Version: o.Build, Manifest: list, Activate: activate})
		var refused persisted.Refused
		if errors.As(err, &refused) {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err != nil {
			return err
		}
		return o.write(report, func(w io.Writer) { printReport(w, report) })
	})
}

// readInput also returns what to call the file in errors.
func readInput(file string, in io.Reader) (text []byte, called string, err error) {
	if file == "-" {
		text, err = io.ReadAll(in)
		return text, "standard input", err
	}
	text, err = os.ReadFile(file)
	return text, file, err
}

func printReport(w io.Writer, r *persisted.Report) {
	fmt.Fprintln(w, "ID\tNAME\tTYPE\tMAX AGE\tSCOPE\tCOST\tNOT CACHED BECAUSE OF")
	for _, op := range r.Operations {
		because := op.Uncacheable
		if op.Rule != "" {
			because = strings.TrimSpace(because + " (" + op.Rule + ")")
		}
		age := policy.Rule{MaxAge: time.Duration(op.MaxAge) * time.Second}.Age()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", shortID(op.ID), op.Name, op.Type, age, op.Scope, op.Cost, because)
	}
	fmt.Fprintln(w)
	for _, note := range r.Notes {
		fmt.Fprintln(w, "Note:", note)
	}
	fmt.Fprintf(w, "%s %s is %s: %s published from %s, %d new to the build.\n",
		r.App, r.Version, r.State, amount(len(r.Operations), "operation"), r.Format, r.Added)
	if r.State != persisted.Active {
		fmt.Fprintf(w, "Serve them with: freshet persisted activate --app %s --build %s\n", quoted(r.App), quoted(r.Version))
	}
}

// shortID keeps tables narrow; a dozen digits tell hashes apart.
func shortID(id string) string {
	const most = 32
	if len(id) <= most {
		return id
	}
	return strings.ToValidUTF8(id[:12], "") + "…"
}

// quoted makes a name one word of a shell.
func quoted(name string) string {
	plain := func(r rune) bool {
		return r < 128 && (strings.ContainsRune("._-/@+", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

// ListPersisted lists builds, of all apps unless one is named.
func ListPersisted(ctx context.Context, o PersistedOptions) error {
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		builds, err := r.Builds(ctx, o.App)
		if err != nil {
			return err
		}
		return o.write(map[string]any{"builds": builds}, func(w io.Writer) {
			fmt.Fprintln(w, "APP\tBUILD\tSTATE\tOPERATIONS\tREQUESTS\tLAST SEEN\tPUBLISHED")
			for _, b := range builds {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n",
					b.App, b.Version, b.State, b.Operations, b.Requests, moment(b.LastSeenAt), moment(&b.PublishedAt))
			}
		})
	})
}

func moment(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format("2006-01-02 15:04Z")
}

// ShowPersisted lists the operations of a build.
func ShowPersisted(ctx context.Context, o PersistedOptions) error {
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		uses, err := r.Operations(ctx, o.App, o.Build)
		if err != nil {
			return err
		}
		return o.write(map[string]any{"app": o.App, "build": o.Build, "operations": uses}, func(w io.Writer) {
			fmt.Fprintln(w, "ID\tNAME\tTYPE\tREQUESTS\tLAST SEEN\tBY OTHERS")
			for _, u := range uses {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\n", u.Key, u.Name, u.Type, u.Requests, moment(u.LastSeenAt), u.Others)
			}
		})
	})
}

// ActivatePersisted has a build's operations served.
func ActivatePersisted(ctx context.Context, o PersistedOptions) error {
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		if err := r.Activate(ctx, o.App, o.Build); err != nil {
			return err
		}
		fmt.Fprintf(o.Out, "%s %s is active\n", o.App, o.Build)
		return nil
	})
}

// lately is how long after its last use a build is thought to be on phones that are switched on.
const lately = 7 * 24 * time.Hour

// RetirePersisted ends the serving of a build. If it was in use lately, it asks on In, where a person is there to answer,
// and is refused otherwise, unless sure is set.
func RetirePersisted(ctx context.Context, o PersistedOptions, person, sure bool) error {
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		seen, err := r.Seen(ctx, o.App, o.Build)
		if err != nil {
			return err
		}
		if !sure && time.Since(seen) < lately {
			if err := o.confirm(person, seen); err != nil {
				return err
			}
		}
		if err := r.Retire(ctx, o.App, o.Build); err != nil {
			return err
		}
		fmt.Fprintf(o.Out, "%s %s is retired\n", o.App, o.Build)
		return nil
	})
}

func (o PersistedOptions) confirm(person bool, seen time.Time) error {
	warning := fmt.Sprintf("operations of %s %s were last asked for at %s", o.App, o.Build, moment(&seen))
	if !person {
		return fmt.Errorf("%s: to retire it all the same, add --yes", warning)
	}
	fmt.Fprintf(o.Out, "%s. Retire it? [y/N] ", warning)
	answer, _ := bufio.NewReader(o.In).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("not retired")
	}
	return nil
}

// CheckPersisted tells which operations of active and pending builds another schema would break. The error, if any
// would, is for the exit code; the list is on Out.
func CheckPersisted(ctx context.Context, o PersistedOptions, file string) error {
	text, file, err := readInput(file, o.In)
	if err != nil {
		return err
	}
	next, err := persisted.ReadSchema(file, string(text))
	if err != nil {
		return err
	}
	return o.withRegistry(ctx, func(r *persisted.Registry) error {
		verdict, err := r.Check(ctx, resolvers.New(nil, nil, nil, nil).Schema().Schema(), next)
		if err != nil {
			return err
		}
		if err := o.write(verdict, func(w io.Writer) { printVerdict(w, verdict) }); err != nil || len(verdict.Broken) == 0 {
			return err
		}
		return fmt.Errorf("%s would break operations of %s", file, amount(len(verdict.Broken), "build"))
	})
}

func printVerdict(w io.Writer, v *persisted.Verdict) {
	for _, b := range v.Broken {
		fmt.Fprintf(w, "%s %s (%s)\n", b.App, b.Version, b.State)
		for _, op := range b.Operations {
			fmt.Fprintf(w, "  %s (%s)\n", op.Name, shortID(op.ID))
			for _, reason := range op.Reasons {
				fmt.Fprintln(w, "    "+reason)
			}
		}
	}
	result := "none would break"
	if len(v.Broken) > 0 {
		result = amount(len(v.Broken), "build") + " would break"
	}
	fmt.Fprintf(w, "%s of %s checked: %s.\n", amount(v.Operations, "operation"), amount(v.Builds, "active or pending build"), result)
}

func amount(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprintf("%d %s", n, of)
}
