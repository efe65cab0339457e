package command

import (
	"testing"

	"freshet/internal/testenv"
	"freshet/internal/verifier"
	"freshet/models"
)

// The verifier counts a fault: a row that was changed while the triggers were switched off.
func TestVerifier_CountsAFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start()
	token, id := a.person("ann")
	read := `query($id: ID!) { profile(id: $id) { name } }`
	rename := func(name string) {
		a.must(token, `mutation($n: String!) { updateProfile(input: {name: $n}) { profile { name } } }`, map[string]any{"n": name}, nil)
	}
	wantVerdict := func(when string, want bool) {
		t.Helper()
		checked, consistent, err := a.instance.store.Verify(t.Context(), "profile:"+id)
		if err != nil || !checked || consistent != want {
			t.Errorf("%s: got checked %v, consistent %v, %v, want it checked, and %v", when, checked, consistent, err, want)
		}
	}
	rename("Ann")
	for range 2 { // from Redis, then from memory
		a.get("", "profile.name", read, map[string]any{"id": id})
		wantVerdict("after a change as usual", true)
	}
	w.exec(`ALTER TABLE profiles DISABLE TRIGGER ALL`)
	w.exec(`UPDATE profiles SET name = 'Silent' WHERE id = ?`, id)
	w.exec(`ALTER TABLE profiles ENABLE TRIGGER ALL`)
	// The definition of the table was changed, and that is noticed; wait for it, and fill the cache before another
	// silent change.
	rename("Ann again")
	a.get("", "profile.name", read, map[string]any{"id": id})
	w.exec(`ALTER EVENT TRIGGER changelog_definition DISABLE`)
	w.exec(`ALTER TABLE profiles DISABLE TRIGGER ALL`)
	w.exec(`UPDATE profiles SET name = 'Silent' WHERE id = ?`, id)
	w.exec(`ALTER TABLE profiles ENABLE TRIGGER ALL`)
	a.wantAt("", "profile.name", "Ann again", read, map[string]any{"id": id}) // the fault
	wantVerdict("after a silent change", false)
	rename("Loud")
	a.get("", "profile.name", read, map[string]any{"id": id})
	wantVerdict("after a change that the log tells of", true)
}

// A verifier that runs looks at the changes of its instance by itself.
func TestVerifier_LooksAtChanges(t *testing.T) {
	t.Parallel()
	a := newWorld(t).start()
	token, _ := a.person("ann")
	a.must(token, `mutation { updateProfile(input: {name: "Ann"}) { profile { name } } }`, nil, nil)
	testenv.Eventually(t, "a change is looked at", func() bool {
		if _, _, err := a.instance.store.Profiles.One(t.Context(), models.ID(1)); err != nil {
			t.Fatal(err)
		}
		return a.instance.verifier.Stats() != (verifier.Stats{})
	})
	if got := a.instance.verifier.Stats(); got.Inconsistent != 0 {
		t.Errorf("inconsistencies: got %+v, want none", got)
	}
}
