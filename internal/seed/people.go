package seed

import (
	"strconv"
	"strings"
	"time"
)

// name is a part of a name, and how a handle spells it.
type name struct{ shown, handle string }

// readNames reads a section of names, such as `Anna|Jürgen=juergen`.
func readNames(sections []section, of string) []name {
	var names []name
	for _, s := range sections {
		if s.name != of {
			continue
		}
		for _, line := range s.lines {
			shown, handle, spelt := strings.Cut(line, "=")
			if !spelt {
				handle = strings.ToLower(shown)
			}
			names = append(names, name{shown: shown, handle: handle})
		}
	}
	return names
}

// person is what a profile's posts depend on.
type person struct {
	voice      int
	favourites [2]int // categories
}

// person starts the random numbers of the profile.
func (w *world) person(d *dice, id int) person {
	d.take(streamPerson, id)
	p := person{favourites: [2]int{d.IntN(len(categories)), d.IntN(len(categories))}}
	if id <= adminID {
		return p
	}
	for share := d.IntN(100); share >= languages[p.voice].share; p.voice++ {
		share -= languages[p.voice].share
	}
	return p
}

// joined is when a profile was made, in microseconds since 1970: ids are in this order.
func (w *world) joined(id int) int64 {
	span := (memory - history).Microseconds()
	return w.now.Add(-memory).UnixMicro() + span*int64(id-1)/int64(w.profiles)
}

func (w *world) profileRows() source {
	d := newDice()
	pen := w.newPen(d)
	taken := map[string]int{}
	id := 0
	return func(e *encoder) bool {
		if id == w.profiles {
			return false
		}
		id++
		p := w.person(d, id)
		shown, handle := w.name(d, p, id)
		taken[handle]++
		if n := taken[handle]; n > 1 {
			handle += strconv.Itoa(n) // no name ends in a digit, so this is new
		}
		e.row(6)
		e.id(id)
		e.text(handle)
		e.text(shown)
		e.textFrom(func(buf []byte) []byte { return pen.bio(buf, d, p, id) })
		if d.chance(70) {
			e.text("https://avatars.example/" + handle + ".webp")
		} else {
			e.null()
		}
		e.moment(w.joined(id))
		return true
	}
}

// name makes up a name and a handle, which others may have too.
func (w *world) name(d *dice, p person, id int) (shown, handle string) {
	switch id {
	case demoID:
		return "Demo Reader", DemoHandle
	case adminID:
		return "Freshet Team", AdminHandle
	}
	v := &w.voices[p.voice]
	parts := &v.names
	if len(v.companies[0]) > 0 && d.chance(4) {
		parts = &v.companies
	}
	first, last := parts[0][d.IntN(len(parts[0]))], parts[1][d.IntN(len(parts[1]))]
	shown = first.shown + " " + last.shown
	switch d.IntN(4) {
	case 0:
		return shown, first.handle + last.handle
	case 1:
		return shown, last.handle + "_" + first.handle
	case 2:
		return shown, first.handle[:1] + "_" + last.handle
	default:
		return shown, first.handle + "_" + last.handle
	}
}

func (p *pen) bio(buf []byte, d *dice, who person, id int) []byte {
	switch {
	case id == demoID:
		return append(buf, "Shows what the feed can do."...)
	case id == adminID:
		return append(buf, "Looks after the configuration."...)
	case d.chance(8):
		return buf
	}
	w := p.writers[who.voice][who.favourites[0]]
	w.begin()
	return w.append(buf, "bio")
}

// between is a random moment from a, exclusive, to b.
func between(d *dice, a, b int64) int64 {
	return a + 1 + d.Int64N(max(b-a, 1))
}

func hours(n float64) int64 {
	return int64(n * float64(time.Hour.Microseconds()))
}
