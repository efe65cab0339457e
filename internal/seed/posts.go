package seed

import "math"

// post is what a post's likes depend on.
type post struct {
	author    int
	published int64 // microseconds since 1970
	weight    float64
}

// post starts the random numbers of the post. Ids are in the order of publication.
func (w *world) post(d *dice, id int) post {
	d.take(streamPosts, id)
	rank := w.authors.draw(d.Rand)
	share := 1.0
	if id < w.posts {
		share = (float64(id-1) + d.Float64()) / float64(w.posts)
	}
	p := post{author: int(w.popular[rank]), published: w.calendar.at(share)}
	age := float64(w.now.UnixMicro() - p.published)
	recency := math.Exp(-age/float64(hours(30*24))) * (1 - math.Exp(-age/float64(hours(6))))
	luck := math.Pow(1-d.Float64(), -0.45)
	p.weight = zipfWeight(rank, likedExponent) * recency * luck
	return p
}

func (w *world) postRows() source {
	d, authorDice := newDice(), newDice()
	pen := w.newPen(d)
	id := 0
	return func(e *encoder) bool {
		if id == w.posts {
			return false
		}
		id++
		p := w.post(d, id)
		author := w.person(authorDice, p.author)
		voice, category := author.voice, d.IntN(len(categories))
		if d.chance(80) {
			category = author.favourites[d.IntN(2)]
		}
		if d.chance(10) {
			voice = english
		}
		text := pen.writers[voice][category]
		text.begin()
		e.row(8)
		e.id(id)
		e.id(p.author)
		e.textFrom(func(buf []byte) []byte { return text.append(buf, "title") })
		e.textFrom(func(buf []byte) []byte { return text.body(buf, d, w.voices[voice].gap) })
		e.text(categories[category])
		e.text(w.voices[voice].code)
		e.moment(p.published)
		if d.chance(3) {
			e.moment(between(d, p.published, min(p.published+hours(48), w.now.UnixMicro())))
		} else {
			e.null()
		}
		return true
	}
}

// body writes two to six paragraphs.
func (w *writer) body(buf []byte, d *dice, gap string) []byte {
	buf = w.append(buf, "open")
	paragraphs := 2 + d.IntN(3) + d.IntN(3)
	for i := range paragraphs {
		if i > 0 {
			buf = append(buf, "\n\n"...)
			buf = w.append(buf, "say")
		}
		for range 1 + d.IntN(2) {
			buf = w.append(append(buf, gap...), "say")
		}
	}
	if d.chance(60) {
		buf = w.append(append(buf, gap...), "close")
	}
	return buf
}
