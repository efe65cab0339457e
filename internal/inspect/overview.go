package inspect

import (
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"freshet/cache"
)

// Overview is a snapshot of an instance for the page at /playground/cache. Ages and lives are in seconds.
type Overview struct {
	At           int64      `json:"at"` // Unix ms
	Instance     Instance   `json:"instance"`
	Log          *ChangeLog `json:"log"` // nil but on the sequencer's instance
	Kinds        []*Kind    `json:"kinds"`
	History      []Moment   `json:"history,omitempty"`
	Hottest      []Entry    `json:"hottest"`
	Largest      []Entry    `json:"largest"`
	Slowest      []Entry    `json:"slowest"`
	Memory       []Memory   `json:"memory"`
	Redis        *Redis     `json:"redis"` // nil while it is away
	Available    bool       `json:"available"`
	Inconsistent uint64     `json:"inconsistent"`
	Verified     uint64     `json:"verified"`
	Builds       []Build    `json:"builds"`
}

// Instance is the one that answers, and what it knows of the change log.
type Instance struct {
	Name      string  `json:"name"`
	Granted   bool    `json:"granted"`
	Position  uint64  `json:"position"`
	Epoch     string  `json:"epoch"`
	Lag       uint64  `json:"lag"`
	SilenceMs int64   `json:"silenceMs"`
	Sequencer string  `json:"sequencer"`
	UptimeS   float64 `json:"uptimeS"`
}

// ChangeLog is what a sequencer knows of the log as a whole.
type ChangeLog struct {
	Head                uint64 `json:"head"`
	Settled             uint64 `json:"settled"`
	OutboxRows          int64  `json:"outboxRows"`
	OldestTransactionMs int64  `json:"oldestTransactionMs"`
	Instances           []Lag  `json:"instances"`
}

// Lag is how far an instance is behind.
type Lag struct {
	Name      string `json:"name"`
	Positions uint64 `json:"positions"`
	ForMs     int64  `json:"forMs"`
}

// Kind counts since the start of the instance.
type Kind struct {
	Kind         string             `json:"kind"`
	Memory       float64            `json:"memory"`
	Redis        float64            `json:"redis"`
	Misses       map[string]float64 `json:"misses"`
	Loads        float64            `json:"loads"`
	LoadErrors   float64            `json:"loadErrors"`
	Stale        float64            `json:"stale"`
	Early        float64            `json:"early"`
	LoadSeconds  float64            `json:"loadSeconds"`
	Batches      float64            `json:"batches"`
	BatchSeconds float64            `json:"batchSeconds"`
}

// Entry in this process's memory.
type Entry struct {
	Key    string   `json:"key"`
	Kind   string   `json:"kind"`
	Bytes  int      `json:"bytes"`
	Age    *float64 `json:"age"`
	TTL    *float64 `json:"ttl"`
	LoadMs float64  `json:"loadMs"`
}

// Memory is a tier in this process: values or results.
type Memory struct {
	Tier    string `json:"tier"`
	Entries int    `json:"entries"`
	Bytes   uint64 `json:"bytes"`
	Limit   uint64 `json:"limit"`
}

// Redis is the sum over all masters.
type Redis struct {
	UsedMemory  float64 `json:"usedMemory"`
	MaxMemory   float64 `json:"maxMemory"`
	EvictedKeys float64 `json:"evictedKeys"`
	Hits        float64 `json:"hits"`
	Misses      float64 `json:"misses"`
	Masters     int     `json:"masters"`
}

// Build of an app, and what it ships with.
type Build struct {
	App        string   `json:"app"`
	Build      string   `json:"build"`
	State      string   `json:"state"`
	Operations []Served `json:"operations"`
}

// Served is an operation of a build, with what became of its requests here since the start.
type Served struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Hits        float64 `json:"hits"`
	Misses      float64 `json:"misses"`
	Uncacheable float64 `json:"uncacheable"`
	MaxAge      float64 `json:"maxAge"`
	Scope       string  `json:"scope"`
}

// Moment of the history: what the kinds had counted then.
type Moment struct {
	At    int64  `json:"at"`
	Kinds []Hits `json:"kinds"`
}

// Hits and misses of a kind.
type Hits struct {
	Kind   string  `json:"kind"`
	Hits   float64 `json:"hits"`
	Misses float64 `json:"misses"`
}

// KindsOf reads the kinds' counters out of the metrics of the instance, in the order of their names.
func KindsOf(families []*dto.MetricFamily) []*Kind {
	byName := make(map[string]*Kind)
	for _, family := range families {
		add := kindCounters[family.GetName()]
		if add == nil {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := make(map[string]string)
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			kind := byName[labels["kind"]]
			if kind == nil {
				kind = &Kind{Kind: labels["kind"], Misses: make(map[string]float64)}
				byName[kind.Kind] = kind
			}
			add(kind, labels, metric)
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *Kind) int { return strings.Compare(a.Kind, b.Kind) })
}

// kindCounters say where a metric goes, by its name.
var kindCounters = map[string]func(*Kind, map[string]string, *dto.Metric){
	"freshet_cache_hits_total": func(k *Kind, labels map[string]string, m *dto.Metric) {
		if labels["tier"] == "local" {
			k.Memory += m.GetCounter().GetValue()
		} else {
			k.Redis += m.GetCounter().GetValue()
		}
	},
	"freshet_cache_misses_total": func(k *Kind, labels map[string]string, m *dto.Metric) {
		k.Misses[labels["reason"]] += m.GetCounter().GetValue()
	},
	"freshet_cache_loads_total": func(k *Kind, labels map[string]string, m *dto.Metric) {
		if labels["outcome"] == "ok" {
			k.Loads += m.GetCounter().GetValue()
		} else {
			k.LoadErrors += m.GetCounter().GetValue()
		}
	},
	"freshet_cache_stale_served_total":    func(k *Kind, _ map[string]string, m *dto.Metric) { k.Stale += m.GetCounter().GetValue() },
	"freshet_cache_early_refreshes_total": func(k *Kind, _ map[string]string, m *dto.Metric) { k.Early += m.GetCounter().GetValue() },
	"freshet_cache_load_duration_seconds": func(k *Kind, _ map[string]string, m *dto.Metric) { k.LoadSeconds += m.GetHistogram().GetSampleSum() },
	"freshet_cache_batch_duration_seconds": func(k *Kind, _ map[string]string, m *dto.Metric) {
		k.Batches += float64(m.GetHistogram().GetSampleCount())
		k.BatchSeconds += m.GetHistogram().GetSampleSum()
	},
}

// HitsOf is what the history keeps of kinds.
func HitsOf(kinds []*Kind) []Hits {
	hits := make([]Hits, len(kinds))
	for i, k := range kinds {
		hits[i] = Hits{Kind: k.Kind, Hits: k.Memory + k.Redis}
		for _, n := range k.Misses {
			hits[i].Misses += n
		}
	}
	return hits
}

// EntriesOf puts entries in this process's memory into words, as of now. Service begins their names. The names of
// sessions are kept back: they are made of tokens.
func EntriesOf(service string, held []cache.Detail, now time.Time) []Entry {
	entries := make([]Entry, len(held))
	for i, d := range held {
		kind, _, _ := strings.Cut(strings.TrimPrefix(d.Name, service+":"), ":")
		k := KeyOf(d, now)
		entries[i] = Entry{Key: d.Name, Kind: kind, Bytes: d.Bytes, Age: k.Age, TTL: k.TTL, LoadMs: ms(d.Load)}
		if kind == "session" {
			entries[i].Key = service + ":session:…"
		}
	}
	return entries
}

// RedisOf sums up what the masters say of themselves, out of the metrics; nil while none answers.
func RedisOf(families []*dto.MetricFamily) *Redis {
	sums := make(map[string]float64)
	masters := 0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			sums[family.GetName()] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
		if family.GetName() == "freshet_redis_memory_used_bytes" {
			masters = len(family.GetMetric())
		}
	}
	if masters == 0 {
		return nil
	}
	return &Redis{
		UsedMemory: sums["freshet_redis_memory_used_bytes"], MaxMemory: sums["freshet_redis_memory_max_bytes"],
		EvictedKeys: sums["freshet_redis_evicted_keys_total"], Hits: sums["freshet_redis_keyspace_hits_total"],
		Misses: sums["freshet_redis_keyspace_misses_total"], Masters: masters,
	}
}

// CountServed adds what became of an operation's requests, out of the metrics. What can't be kept counts as uncacheable
// in place of a miss.
func CountServed(one *Served, families []*dto.MetricFamily, app, build string) {
	for _, family := range families {
		if family.GetName() != "freshet_persisted_operations_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := make(map[string]string)
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["app"] != app || labels["build"] != build || labels["operation"] != one.Name {
				continue
			}
			switch n := metric.GetCounter().GetValue(); {
			case labels["outcome"] == "hit":
				one.Hits += n
			case one.MaxAge > 0:
				one.Misses += n
			default:
				one.Uncacheable += n
			}
		}
	}
}
