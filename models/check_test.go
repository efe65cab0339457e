package models

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
)

// reasons shows why an input was refused: "code field; …", or "" if it was not.
func reasons(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var refusal Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %T %v, want a Refusal", err, err)
	}
	var all []string
	for _, reason := range refusal {
		if len(reason.Path) != 2 || reason.Path[0] != "input" || !strings.HasPrefix(reason.Message, reason.Path[1]+" ") {
			t.Errorf("refusal: got path %q and message %q, want both to name the field", reason.Path, reason.Message)
		}
		all = append(all, fmt.Sprintf("%s %s", reason.Code, reason.Path[1]))
	}
	return strings.Join(all, "; ")
}

func of[T any](value T) graphql.Omittable[*T] { return graphql.OmittableOf(&value) }

func null[T any]() graphql.Omittable[*T] { return graphql.OmittableOf[*T](nil) }

// texts are at the ends of what a text of least to most characters may be, counted in characters of three bytes.
type textCase struct{ in, want string }

func textCases(field string, least, most int) []textCase {
	cases := []textCase{
		{strings.Repeat("字", most), ""},
		{strings.Repeat("字", most+1), "TOO_LONG " + field},
		{strings.Repeat("a", max(least, 1)-1) + "\x00", "INVALID " + field},
		{strings.Repeat("a", least) + "\xff", "INVALID " + field},
		{strings.Repeat("\xff", most+1), "INVALID " + field},
		{strings.Repeat("字", least), ""},
	}
	if least > 0 {
		cases = append(cases, textCase{"", "TOO_SHORT " + field}, textCase{strings.Repeat("字", least-1), "TOO_SHORT " + field})
	}
	return cases
}

func lineCases(field string, least, most int) []textCase {
	cases := append(textCases(field, least, most), textCase{"a\nb", "INVALID " + field}, textCase{"a\rb", "INVALID " + field},
		textCase{"  " + strings.Repeat("字", most) + "\n", ""})
	if least > 0 {
		cases = append(cases, textCase{" \n\t ", "TOO_SHORT " + field})
	}
	return cases
}

func TestCheck_Texts(t *testing.T) {
	t.Parallel()
	signUp := SignUpInput{Handle: "ann", Name: "Ann", Password: "long enough"}
	post := PublishPostInput{Title: "T", Body: "B", Category: "food", Language: "en"}
	for name, c := range map[string]struct {
		check func(text string) error
		cases []textCase
	}{
		"SignUp.name": {func(s string) error { in := signUp; in.Name = s; _, err := in.Check(); return err }, lineCases("name", 1, 50)},
		"SignUp.password": {
			func(s string) error { in := signUp; in.Password = s; _, err := in.Check(); return err }, textCases("password", 10, 200),
		},
		"SignUp.device": {func(s string) error { in := signUp; in.Device = s; _, err := in.Check(); return err }, lineCases("device", 0, 100)},
		"SignIn.password": {
			func(s string) error { _, err := SignInInput{Handle: "ann", Password: s}.Check(); return err }, textCases("password", 1, 200),
		},
		"SignIn.device": {
			func(s string) error {
				_, err := SignInInput{Handle: "ann", Password: "x", Device: s}.Check()
				return err
			}, lineCases("device", 0, 100),
		},
		"UpdateProfile.name": {
			func(s string) error { _, err := UpdateProfileInput{Name: of(s)}.Check(); return err }, lineCases("name", 1, 50),
		},
		"UpdateProfile.bio": {
			func(s string) error { _, err := UpdateProfileInput{Bio: of(s)}.Check(); return err }, textCases("bio", 0, 500),
		},
		"PublishPost.title": {func(s string) error { in := post; in.Title = s; _, err := in.Check(); return err }, lineCases("title", 1, 200)},
		"PublishPost.body":  {func(s string) error { in := post; in.Body = s; _, err := in.Check(); return err }, textCases("body", 1, 20_000)},
		"PublishPost.category": {
			func(s string) error { in := post; in.Category = s; _, err := in.Check(); return err }, textCases("category", 0, 100),
		},
		"PublishPost.language": {
			func(s string) error { in := post; in.Language = s; _, err := in.Check(); return err }, textCases("language", 0, 100),
		},
		"EditPost.title": {func(s string) error { _, err := EditPostInput{Title: of(s)}.Check(); return err }, lineCases("title", 1, 200)},
		"EditPost.body":  {func(s string) error { _, err := EditPostInput{Body: of(s)}.Check(); return err }, textCases("body", 1, 20_000)},
		"EditPost.category": {
			func(s string) error { _, err := EditPostInput{Category: of(s)}.Check(); return err }, textCases("category", 0, 100),
		},
		"EditPost.language": {
			func(s string) error { _, err := EditPostInput{Language: of(s)}.Check(); return err }, textCases("language", 0, 100),
		},
		"UpdateSettings.language": {
			func(s string) error { _, err := UpdateSettingsInput{Language: of(s)}.Check(); return err }, textCases("language", 0, 100),
		},
	} {
		for _, text := range c.cases {
			if got := reasons(t, c.check(text.in)); got != text.want {
				t.Errorf("%s of %d bytes, %q: got %q, want %q", name, len(text.in), shorten(text.in), got, text.want)
			}
		}
	}
}

func TestCheck_Handle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, normal, want string }{
		{"ann", "ann", ""},
		{" @Ann_9 ", "ann_9", ""},
		{strings.Repeat("a", 30), strings.Repeat("a", 30), ""},
		{strings.Repeat("a", 31), strings.Repeat("a", 31), "INVALID handle"},
		{"an", "an", "INVALID handle"},
		{"@@ann", "@ann", "INVALID handle"},
		{"9ann", "9ann", "INVALID handle"},
		{"_ann", "_ann", "INVALID handle"},
		{"an-n", "an-n", "INVALID handle"},
		{"añn", "añn", "INVALID handle"},
		{"ann\n", "ann", ""},
		{"ann\nbob", "ann\nbob", "INVALID handle"},
		{"ann\x00", "ann\x00", "INVALID handle"},
		{"ann\xff", "ann\ufffd", "INVALID handle"},
		{"", "", "INVALID handle"},
	} {
		in, err := SignUpInput{Handle: c.in, Name: "Ann", Password: "long enough"}.Check()
		if got := reasons(t, err); got != c.want || in.Handle != c.normal {
			t.Errorf("handle %q: got %q kept as %q, want %q kept as %q", c.in, got, in.Handle, c.want, c.normal)
		}
	}
	// Signing in takes any text: that no account has it is found out with the password.
	for in, want := range map[string]string{
		"@Ann": "", "9": "", strings.Repeat("a", 101): "TOO_LONG handle", "@": "TOO_SHORT handle", "a\x00": "INVALID handle",
	} {
		if _, err := (SignInInput{Handle: in, Password: "x"}).Check(); reasons(t, err) != want {
			t.Errorf("signing in as %q: got %q, want %q", in, reasons(t, err), want)
		}
	}
}

func TestCheck_KeepsCleanedTexts(t *testing.T) {
	t.Parallel()
	up, err := SignUpInput{Handle: "@Ann", Name: " Ann ", Password: " with spaces ", Device: " phone\n"}.Check()
	if want := (SignUpInput{Handle: "ann", Name: "Ann", Password: " with spaces ", Device: "phone"}); err != nil || up != want {
		t.Errorf("SignUpInput: got %+v, %v, want %+v", up, err, want)
	}
	post, err := PublishPostInput{Title: " T ", Body: "\nfirst\n\nsecond \n", Category: "food", Language: "en"}.Check()
	if want := (PublishPostInput{Title: "T", Body: "first\n\nsecond", Category: "food", Language: "en"}); err != nil || post != want {
		t.Errorf("PublishPostInput: got %+v, %v, want %+v", post, err, want)
	}
	edit, err := EditPostInput{PostID: 3, Title: of(" T "), Body: of(" B ")}.Check()
	if err != nil || *edit.Title.Value() != "T" || *edit.Body.Value() != "B" || edit.Category.IsSet() {
		t.Errorf("EditPostInput: got %+v, %v, want title T, body B and no category", edit, err)
	}
	profile, err := UpdateProfileInput{Name: of(" Ann ")}.Check()
	if err != nil || *profile.Name.Value() != "Ann" || profile.Bio.IsSet() || profile.AvatarURL.IsSet() {
		t.Errorf("UpdateProfileInput: got %+v, %v, want the name Ann alone", profile, err)
	}
}

func TestCheck_NullIsNotOmitted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		check func() error
		want  string
	}{
		{"profile, nothing set", func() error { _, err := UpdateProfileInput{}.Check(); return err }, ""},
		{"profile, name null", func() error { _, err := UpdateProfileInput{Name: null[string]()}.Check(); return err }, "INVALID name"},
		{"profile, bio and picture null", func() error {
			in, err := UpdateProfileInput{Bio: null[string](), AvatarURL: null[string]()}.Check()
			if !in.Bio.IsSet() || in.Bio.Value() != nil || !in.AvatarURL.IsSet() || in.AvatarURL.Value() != nil {
				return fmt.Errorf("null was lost: %+v", in)
			}
			return err
		}, ""},
		{"settings, nothing set", func() error { _, err := UpdateSettingsInput{}.Check(); return err }, ""},
		{"settings, all null", func() error {
			_, err := UpdateSettingsInput{
				Theme: null[Theme](), Language: null[string](), PushNotifications: null[bool](), Digest: null[Digest](),
			}.Check()
			return err
		}, "INVALID theme; INVALID language; INVALID pushNotifications; INVALID digest"},
		{"post, nothing set", func() error { _, err := EditPostInput{PostID: 1}.Check(); return err }, ""},
		{"post, all null", func() error {
			_, err := EditPostInput{
				PostID: 1, Title: null[string](), Body: null[string](), Category: null[string](), Language: null[string](),
			}.Check()
			return err
		}, "INVALID title; INVALID body; INVALID category; INVALID language"},
	} {
		if got := reasons(t, c.check()); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCheck_AvatarURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://example.com/a.png":             "",
		"HTTPS://example.com/a.png?size=2#x":    "",
		"http://example.com/a.png":              "INVALID avatarUrl",
		"//example.com/a.png":                   "INVALID avatarUrl",
		"https:///a.png":                        "INVALID avatarUrl",
		"https:example.com":                     "INVALID avatarUrl",
		"https://user:secret@example.com/a.png": "INVALID avatarUrl",
		"javascript:alert(1)":                   "INVALID avatarUrl",
		"data:image/png;base64,AAAA":            "INVALID avatarUrl",
		"https://example.com/a\nb":              "INVALID avatarUrl",
		"":                                      "INVALID avatarUrl",
		"https://example.com/" + strings.Repeat("a", 500-len("https://example.com/")):   "",
		"https://example.com/" + strings.Repeat("a", 500-len("https://example.com/")+1): "TOO_LONG avatarUrl",
	} {
		if _, err := (UpdateProfileInput{AvatarURL: of(in)}).Check(); reasons(t, err) != want {
			t.Errorf("avatarUrl %q: got %q, want %q", in, reasons(t, err), want)
		}
	}
}

func TestCheck_Config(t *testing.T) {
	t.Parallel()
	flags := func(names ...string) (all []*FeatureFlagInput) {
		for _, name := range names {
			all = append(all, &FeatureFlagInput{Name: name})
		}
		return all
	}
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("f", i))
		}
		return names
	}
	value := func(key, value string) *ConfigValueInput { return &ConfigValueInput{Key: key, Value: value} }
	for _, c := range []struct {
		name string
		in   PublishConfigInput
		want string
	}{
		{"smallest", PublishConfigInput{MinimumBuild: "1"}, ""},
		{"most", PublishConfigInput{MinimumBuild: "1.22.333.123456789", Features: flags(many(500)...)}, ""},
		{"build in words", PublishConfigInput{MinimumBuild: "v1.2"}, "INVALID minimumBuild"},
		{"build of five", PublishConfigInput{MinimumBuild: "1.2.3.4.5"}, "INVALID minimumBuild"},
		{"build with a newline", PublishConfigInput{MinimumBuild: "1.2\n"}, "INVALID minimumBuild"},
		{"build of a long number", PublishConfigInput{MinimumBuild: "1234567890"}, "INVALID minimumBuild"},
		{"too many features", PublishConfigInput{MinimumBuild: "1", Features: flags(many(501)...)}, "TOO_LONG features"},
		{"feature twice", PublishConfigInput{MinimumBuild: "1", Features: flags("a", "b", "a")}, "INVALID features"},
		{"feature without a name", PublishConfigInput{MinimumBuild: "1", Features: flags("")}, "TOO_SHORT features"},
		{"long name", PublishConfigInput{MinimumBuild: "1", Features: flags(strings.Repeat("字", 101))}, "TOO_LONG features"},
		{"key and feature of one name", PublishConfigInput{
			MinimumBuild: "1", Features: flags("a"), Values: []*ConfigValueInput{value("a", "")},
		}, ""},
		{"key twice", PublishConfigInput{MinimumBuild: "1", Values: []*ConfigValueInput{value("a", "1"), value("a", "2")}}, "INVALID values"},
		{"longest value", PublishConfigInput{MinimumBuild: "1", Values: []*ConfigValueInput{value("a", strings.Repeat("字", 10_000))}}, ""},
		{"long value", PublishConfigInput{
			MinimumBuild: "1", Values: []*ConfigValueInput{value("a", strings.Repeat("字", 10_001))},
		}, "TOO_LONG values"},
		{"NUL", PublishConfigInput{MinimumBuild: "1", Values: []*ConfigValueInput{value("a", "\x00")}}, "INVALID values"},
	} {
		if _, err := c.in.Check(); reasons(t, err) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, reasons(t, err), c.want)
		}
	}
}

func TestCheck_NamesEveryReason(t *testing.T) {
	t.Parallel()
	_, err := SignUpInput{Handle: "?", Name: "", Password: "short", Device: "a\nb"}.Check()
	if got, want := reasons(t, err), "INVALID handle; TOO_SHORT name; TOO_SHORT password; INVALID device"; got != want {
		t.Errorf("reasons: got %q, want %q", got, want)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), "short") {
		t.Errorf("the error shows the password: %v", err)
	}
}
