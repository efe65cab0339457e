package seed

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// world is the plan of all rows. Each row follows from its table and its number alone, so none has to be kept.
type world struct {
	amounts
	calendar *calendar
	now      time.Time
	voices   []voice
	popular  []int32 // ids of profiles, the most followed first
	followed *lottery
	authors  *lottery
	likers   *lottery // rank+1 is the id of a profile: who came first likes most
}

// How steeply attention falls with rank: whom one follows, who writes, who likes, and whose posts are liked.
const (
	followExponent = 1.0
	authorExponent = 0.5
	likerExponent  = 0.6
	likedExponent  = 0.8
)

// Streams keep the random numbers of one kind of row apart from another's.
const (
	streamPerson = iota + 1
	streamPopularity
	streamFollows
	streamPosts
	streamLikes
	streamProducts
)

// categories and languages are those that the schema knows. Languages come with their share of profiles in percent.
var (
	categories = [...]string{"business", "culture", "food", "health", "science", "sport", "technology", "travel"}
	languages  = [...]struct {
		code  string
		share int
	}{{"en", 60}, {"de", 9}, {"es", 9}, {"fr", 7}, {"pt", 5}, {"it", 4}, {"uk", 3}, {"ja", 3}}
)

// english is the index of the language in which everyone writes now and then.
const english = 0

// voice is how people of a language are called and write.
type voice struct {
	code      string
	gap       string // between sentences
	grammars  []*grammar
	names     [2][]name // the two parts of a person's name, in their order
	companies [2][]name // of an organisation's name; may be empty
}

func newWorld(rows amounts, now time.Time) (*world, error) {
	w := &world{amounts: rows, calendar: newCalendar(now), now: now}
	for _, language := range languages {
		v, err := newVoice(language.code)
		if err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		w.voices = append(w.voices, v)
	}
	w.popular = make([]int32, w.profiles)
	for i := range w.popular {
		w.popular[i] = int32(i + 1)
	}
	d := newDice()
	d.take(streamPopularity, 0)
	d.Shuffle(len(w.popular), func(i, j int) { w.popular[i], w.popular[j] = w.popular[j], w.popular[i] })
	w.followed = newLottery(w.profiles, followExponent)
	w.authors = newLottery(w.profiles, authorExponent)
	w.likers = newLottery(w.profiles, likerExponent)
	return w, nil
}

func newVoice(code string) (voice, error) {
	v := voice{code: code, gap: " "}
	if code == "ja" {
		v.gap = ""
	}
	sections, err := readSections("texts/" + code + ".txt")
	if err != nil {
		return v, err
	}
	for _, category := range categories {
		g, err := newGrammar(sections, category)
		if err != nil {
			return v, fmt.Errorf("%s, %s: %w", code, category, err)
		}
		v.grammars = append(v.grammars, g)
	}
	v.names = [2][]name{readNames(sections, "name1"), readNames(sections, "name2")}
	v.companies = [2][]name{readNames(sections, "company1"), readNames(sections, "company2")}
	return v, nil
}

// dice are random numbers that start again for each row.
type dice struct {
	*rand.Rand
	pcg *rand.PCG
}

func newDice() *dice {
	pcg := &rand.PCG{}
	return &dice{Rand: rand.New(pcg), pcg: pcg}
}

// take starts the numbers of a row of a stream. Multiplying by an odd constant sends neighbours far apart.
func (d *dice) take(stream uint64, row int) {
	d.pcg.Seed(stream, uint64(row)*0x9e3779b97f4a7c15)
}

// chance is true with a probability in percent.
func (d *dice) chance(percent int) bool {
	return d.IntN(100) < percent
}

// pen writes the texts of every voice.
type pen struct {
	writers [][]*writer // by voice and category
}

func (w *world) newPen(d *dice) *pen {
	p := &pen{}
	for _, v := range w.voices {
		var writers []*writer
		for _, g := range v.grammars {
			writers = append(writers, newWriter(g, d.Rand))
		}
		p.writers = append(p.writers, writers)
	}
	return p
}

// table is what to copy where.
type table struct {
	name    string
	columns []string
	count   int // expected, for the progress
	rows    source
}

// tables lists the tables to copy, in an order in which rows only refer to earlier ones.
func (w *world) tables() []table {
	return []table{
		{"profiles", []string{"id", "handle", "name", "bio", "avatar_url", "joined_at"}, w.profiles, w.profileRows()},
		{"posts", []string{
			"id", "author_id", "title", "body", "category", "language", "published_at", "edited_at",
		}, w.posts, w.postRows()},
		{"follows", []string{"follower_id", "followee_id", "followed_at"}, w.follows, w.followRows()},
		{"likes", []string{"post_id", "profile_id", "liked_at"}, w.likes, w.likeRows()},
	}
}
