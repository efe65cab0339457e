package seed

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"freshet/internal/testenv"
)

func TestSize_Text(t *testing.T) {
	t.Parallel()
	for _, want := range []Size{Small, Medium, Large} {
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got := Size(-1)
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("size %q: got %v, %v, want %v", text, got, err, want)
		}
	}
	var s Size
	if err := s.UnmarshalText([]byte("huge")); err == nil {
		t.Error("size \"huge\": got no error, want one")
	}
}

func TestLottery_Draw(t *testing.T) {
	t.Parallel()
	const ranks, draws = 100, 200_000
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLottery(ranks, 1)
	var hits [ranks]int
	for range draws {
		hits[l.draw(rng)]++
	}
	sum := 0.0
	for rank := range ranks {
		sum += zipfWeight(rank, 1)
	}
	for _, rank := range []int{0, 10, 99} {
		want := draws * zipfWeight(rank, 1) / sum
		if got := float64(hits[rank]); got < 0.9*want || got > 1.1*want {
			t.Errorf("draws of rank %d: got %.0f, want about %.0f", rank, got, want)
		}
	}
}

func TestShares_Next(t *testing.T) {
	t.Parallel()
	s := shares{total: 10, limit: 4, sum: 8}
	var got []int
	for _, weight := range []float64{1, 5, 0, 1, 1} {
		got = append(got, s.next(weight))
	}
	if want := []int{1, 4, 3, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("shares: got %v, want %v", got, want)
	}
}

func TestCalendar_At(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := newCalendar(now)
	var hours [24]int
	last := c.at(0)
	for i := 1; i <= 10_000; i++ {
		at := c.at(float64(i) / 10_000)
		if at < last {
			t.Fatalf("moment of share %d/10000: got %d, want at least %d", i, at, last)
		}
		last = at
		hours[time.UnixMicro(at).UTC().Hour()]++
	}
	if want := now.Add(-newest).UnixMicro(); last != want {
		t.Errorf("last moment: got %d, want %d", last, want)
	}
	if hours[3] >= hours[15] {
		t.Errorf("posts at 3 h and 15 h: got %d and %d, want fewer at night", hours[3], hours[15])
	}
}

func TestTexts_Varied(t *testing.T) {
	t.Parallel()
	w, err := newWorld(Small.amounts(), time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	d := newDice()
	pen := w.newPen(d)
	for i, v := range w.voices {
		for j, text := range pen.writers[i] {
			bodies := map[string]bool{}
			for row := range 200 {
				d.take(streamPosts, row)
				text.begin()
				bodies[string(text.body(text.append(nil, "title"), d, v.gap))] = true
			}
			if len(bodies) < 200 {
				t.Errorf("%s, %s: got %d different posts of 200, want 200", v.code, categories[j], len(bodies))
			}
		}
	}
}

func TestWorld_Dictionaries(t *testing.T) {
	t.Parallel()
	conn := connect(t, testenv.Database(t))
	if want := list[string](t, conn, "SELECT slug FROM categories ORDER BY 1"); !slices.Equal(categories[:], want) {
		t.Errorf("categories: got %q, want %q", categories, want)
	}
	var codes []string
	total := 0
	for _, language := range languages {
		codes = append(codes, language.code)
		total += language.share
	}
	slices.Sort(codes)
	if want := list[string](t, conn, "SELECT code FROM languages ORDER BY 1"); !slices.Equal(codes, want) {
		t.Errorf("languages: got %q, want %q", codes, want)
	}
	if total != 100 {
		t.Errorf("sum of the languages' shares: got %d, want 100", total)
	}
}
