package seed

import (
	"math"
	"sort"
	"time"
)

const (
	// history is how far back posts go. Everyone joined before it.
	history = 90 * 24 * time.Hour
	// memory is how far back the first profile joined.
	memory = 3 * 365 * 24 * time.Hour
	// newest is the age of the newest post.
	newest = time.Minute
)

// calendar spreads events over the history as people do: more of them lately, by day and on working days (in UTC).
type calendar struct {
	start time.Time
	end   time.Time
	until []float64 // share of all events up to the end of each hour
}

func newCalendar(now time.Time) *calendar {
	c := &calendar{start: now.Add(-history), end: now.Add(-newest)}
	sum := 0.0
	for hour := c.start; hour.Before(now); hour = hour.Add(time.Hour) {
		sum += activity(hour, now)
		c.until = append(c.until, sum)
	}
	for i := range c.until {
		c.until[i] /= sum
	}
	return c
}

func activity(at, now time.Time) float64 {
	lately := math.Exp(-now.Sub(at).Hours() / 24 / 60)
	daily := 1 + 0.8*math.Sin(2*math.Pi*float64(at.Hour()-9)/24)
	if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
		daily *= 0.7
	}
	return lately * daily
}

// at returns the moment, in microseconds since 1970, before which the given share of all events lies.
func (c *calendar) at(share float64) int64 {
	hour := min(sort.SearchFloat64s(c.until, share), len(c.until)-1)
	before := 0.0
	if hour > 0 {
		before = c.until[hour-1]
	}
	within := (share - before) / (c.until[hour] - before)
	micros := c.start.UnixMicro() + int64((float64(hour)+within)*float64(time.Hour.Microseconds()))
	return min(micros, c.end.UnixMicro())
}
