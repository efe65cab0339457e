package migrations_test

import (
	"os"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"freshet/internal/testenv"
)

// countries runs one direction of the migration that completes them, by itself.
func countries(t *testing.T, db *bun.DB, direction string) {
	t.Helper()
	text, err := os.ReadFile("20261125000007_countries.tx." + direction + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, string(text))
}

func TestCountries_AreComplete(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t))
	want := func(when, sql, want string) {
		t.Helper()
		var got string
		if err := db.NewRaw(sql).Scan(t.Context(), &got); err != nil || got != want {
			t.Errorf("%s: %s: got %q, %v, want %q", when, sql, got, err, want)
		}
	}
	const newest = `SELECT jsonb_array_length(entries) FROM dictionaries WHERE name = 'COUNTRIES' ORDER BY version DESC LIMIT 1`
	const notices = `SELECT coalesce(string_agg(DISTINCT tag, ' '), '') FROM changelog.outbox`
	want("migrated", "SELECT count(*) FROM countries", "249")
	want("migrated", newest, "249")
	want("migrated", notices, "")
	want("migrated", "SELECT string_agg(code, '') FROM (SELECT code FROM countries ORDER BY code) c", strings.ReplaceAll(iso3166, " ", ""))
	countries(t, db, "down")
	want("taken back", "SELECT count(*) FROM countries", "50")
	exec(t, db, "INSERT INTO countries VALUES ('CY', 'Kypros'), ('XK', 'Kosovo')")
	exec(t, db, "UPDATE changelog.log_head SET term = 1")
	exec(t, db, "DELETE FROM changelog.outbox")
	countries(t, db, "up")
	want("up, where caches are in use", "SELECT name FROM countries WHERE code = 'CY'", "Kypros")
	want("up, where caches are in use", newest, "250")
	want("up, where caches are in use", notices, "dictionary:countries")
	countries(t, db, "down")
	want("taken back again", "SELECT count(*) || ' ' || string_agg(name, ' ') FILTER (WHERE name LIKE 'K%o%') FROM countries WHERE code IN ('CY', 'XK')", "2 Kypros Kosovo")
}

// iso3166 are the codes of ISO 3166-1.
const iso3166 = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY " +
	"BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK " +
	"FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR " +
	"IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK " +
	"ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM " +
	"PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF " +
	"TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
