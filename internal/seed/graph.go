package seed

// maxFollows is how many profiles anyone follows at most.
const maxFollows = 2000

func (w *world) followRows() source {
	d := newDice()
	part := w.followShares(d)
	seen := make([]int32, w.profiles+1) // the last follower who follows this profile
	id := 0
	return func(e *encoder) bool {
		if id == w.profiles {
			return false
		}
		id++
		n := part.next(w.followWeight(d, id))
		if id == demoID {
			n = demoFollows
		}
		seen[id] = int32(id)
		for range n {
			followee := id
			for seen[followee] == int32(id) {
				followee = int(w.popular[w.followed.draw(d.Rand)])
			}
			seen[followee] = int32(id)
			e.row(3)
			e.id(id)
			e.id(followee)
			e.moment(between(d, w.joined(max(id, followee)), w.now.UnixMicro()))
		}
		return true
	}
}

func (w *world) followShares(d *dice) shares {
	s := shares{total: w.follows - demoFollows, limit: min(maxFollows, w.profiles/4)}
	for id := range w.profiles {
		s.sum += w.followWeight(d, id+1)
	}
	return s
}

// followWeight starts the random numbers of a profile's follows.
func (w *world) followWeight(d *dice, id int) float64 {
	d.take(streamFollows, id)
	if id == demoID {
		return 0
	}
	return min(logNormal(d.Rand, 1), maxFollows/100)
}

func (w *world) likeRows() source {
	d, postDice := newDice(), newDice()
	part := w.likeShares(postDice)
	seen := make([]int32, w.profiles+1) // the last post that this profile likes
	id := 0
	return func(e *encoder) bool {
		if id == w.posts {
			return false
		}
		id++
		p := w.post(postDice, id)
		d.take(streamLikes, id)
		for range part.next(p.weight) {
			liker := w.likers.draw(d.Rand) + 1
			for seen[liker] == int32(id) {
				liker = w.likers.draw(d.Rand) + 1
			}
			seen[liker] = int32(id)
			soon := min(p.published+hours(d.ExpFloat64()*24), w.now.UnixMicro())
			e.row(3)
			e.id(id)
			e.id(liker)
			e.moment(between(d, p.published, soon))
		}
		return true
	}
}

func (w *world) likeShares(d *dice) shares {
	s := shares{total: w.likes, limit: w.profiles / 3}
	for id := range w.posts {
		s.sum += w.post(d, id+1).weight
	}
	return s
}
