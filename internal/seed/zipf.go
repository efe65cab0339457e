package seed

import (
	"math"
	"math/rand/v2"
)

// zipfHead flattens the head of the curve: without it the first of a thousand would take a seventh of everything.
const zipfHead = 20

// zipfWeight is the weight of a rank, counted from 0, in a Zipf-Mandelbrot distribution.
func zipfWeight(rank int, exponent float64) float64 {
	return math.Pow(float64(rank+1+zipfHead), -exponent)
}

// lottery draws ranks from a Zipf-Mandelbrot distribution, each in constant time (Walker's alias method). It does not
// change after newLottery.
type lottery struct {
	keep  []float64 // probability that a rank which came up stays
	alias []int32   // the rank to take otherwise
}

func newLottery(n int, exponent float64) *lottery {
	l := &lottery{keep: make([]float64, n), alias: make([]int32, n)}
	sum := 0.0
	for rank := range n {
		l.keep[rank] = zipfWeight(rank, exponent)
		sum += l.keep[rank]
	}
	var below, above []int32
	for rank := range n {
		l.keep[rank] *= float64(n) / sum
		if l.keep[rank] < 1 {
			below = append(below, int32(rank))
		} else {
			above = append(above, int32(rank))
		}
	}
	for len(below) > 0 && len(above) > 0 {
		poor, rich := below[len(below)-1], above[len(above)-1]
		below = below[:len(below)-1]
		l.alias[poor] = rich
		l.keep[rich] -= 1 - l.keep[poor]
		if l.keep[rich] < 1 {
			above = above[:len(above)-1]
			below = append(below, rich)
		}
	}
	for _, rank := range append(below, above...) {
		l.keep[rank] = 1
	}
	return l
}

func (l *lottery) draw(rng *rand.Rand) int {
	rank := rng.IntN(len(l.keep))
	if rng.Float64() < l.keep[rank] {
		return rank
	}
	return int(l.alias[rank])
}

// shares splits a total into whole parts in proportion to weights that come one by one. What rounding or the limit
// keeps from one goes to the next, so that the parts add up.
type shares struct {
	total, limit int
	sum          float64 // of all weights
	seen         float64 // of the weights so far
	given        int
}

func (s *shares) next(weight float64) int {
	s.seen += weight
	due := int(math.Round(float64(s.total) * s.seen / s.sum))
	n := min(due-s.given, s.limit)
	s.given += n
	return n
}

// logNormal is a random factor with median 1.
func logNormal(rng *rand.Rand, sigma float64) float64 {
	return math.Exp(sigma * rng.NormFloat64())
}
