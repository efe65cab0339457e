package seed

import (
	"bufio"
	"embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed texts/*.txt
var textFiles embed.FS

// grammar writes texts in one language about one category. A file in texts holds sections, each with lines to choose
// from: [say] is for every category, [say.food] adds lines for one. In a line, | separates alternatives, {topic} stands
// for a line of [topic], {Topic} for the same with a capital, {3-40} for a number. Sections whose header has a = in
// front are chosen once a text.
type grammar struct {
	symbols []symbol
	index   map[string]int
}

type symbol struct {
	name   string
	sticky bool
	lines  [][]part
}

// part is literal text, or the symbol or number range that stands after it.
type part struct {
	literal   string
	symbol    int // -1: none
	capital   bool
	low, high int // a number, if high > 0
}

// writer writes one text after the other. Within a text no line is used again before all of its section were.
type writer struct {
	g    *grammar
	rng  *rand.Rand
	used [][]uint64 // bits of lines, by symbol
	kept []int      // line of a sticky symbol; -1: not chosen yet
}

func newWriter(g *grammar, rng *rand.Rand) *writer {
	w := &writer{g: g, rng: rng, used: make([][]uint64, len(g.symbols)), kept: make([]int, len(g.symbols))}
	for i, s := range g.symbols {
		w.used[i] = make([]uint64, (len(s.lines)+63)/64)
	}
	return w
}

// begin starts another text.
func (w *writer) begin() {
	for i := range w.kept {
		w.kept[i] = -1
		clear(w.used[i])
	}
}

// append writes a line of the section.
func (w *writer) append(buf []byte, section string) []byte {
	return w.expand(buf, w.g.index[section])
}

func (w *writer) expand(buf []byte, of int) []byte {
	for _, p := range w.g.symbols[of].lines[w.choose(of)] {
		buf = append(buf, p.literal...)
		switch {
		case p.high > 0:
			buf = strconv.AppendInt(buf, int64(p.low+w.rng.IntN(p.high-p.low+1)), 10)
		case p.symbol >= 0:
			start := len(buf)
			buf = w.expand(buf, p.symbol)
			if p.capital {
				capitalise(buf[start:])
			}
		}
	}
	return buf
}

func (w *writer) choose(of int) int {
	s := &w.g.symbols[of]
	if s.sticky && w.kept[of] >= 0 {
		return w.kept[of]
	}
	used, n := w.used[of], len(s.lines)
	line := w.rng.IntN(n)
	for range n {
		if used[line/64]&(1<<(line%64)) == 0 {
			break
		}
		line = (line + 1) % n
	}
	used[line/64] |= 1 << (line % 64)
	w.kept[of] = line
	return line
}

// capitalise changes the first letter in place; none of our alphabets has a capital of another length.
func capitalise(text []byte) {
	r, size := utf8.DecodeRune(text)
	if upper := unicode.ToUpper(r); utf8.RuneLen(upper) == size {
		utf8.EncodeRune(text, upper)
	}
}

// section is a part of a file before its lines are parsed.
type section struct {
	name, category string
	sticky         bool
	lines          []string
}

func readSections(path string) ([]section, error) {
	file, err := textFiles.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var sections []section
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			header, sticky := strings.CutPrefix(strings.Trim(line, "[]"), "=")
			name, category, _ := strings.Cut(header, ".")
			sections = append(sections, section{name: name, category: category, sticky: sticky})
		case len(sections) == 0:
			return nil, fmt.Errorf("%s: line before the first section: %s", path, line)
		default:
			last := &sections[len(sections)-1]
			last.lines = append(last.lines, strings.Split(line, "|")...)
		}
	}
	return sections, lines.Err()
}

func newGrammar(sections []section, category string) (*grammar, error) {
	g := &grammar{index: map[string]int{}}
	for _, s := range sections {
		if _, ok := g.index[s.name]; !ok {
			g.index[s.name] = len(g.symbols)
			g.symbols = append(g.symbols, symbol{name: s.name, sticky: s.sticky})
		}
	}
	for _, s := range sections {
		if s.category != "" && s.category != category {
			continue
		}
		to := &g.symbols[g.index[s.name]]
		for _, text := range s.lines {
			parts, err := g.parse(text)
			if err != nil {
				return nil, err
			}
			to.lines = append(to.lines, parts)
		}
	}
	for _, s := range g.symbols {
		if len(s.lines) == 0 {
			return nil, fmt.Errorf("section %s has no line", s.name)
		}
	}
	return g, nil
}

func (g *grammar) parse(text string) ([]part, error) {
	var parts []part
	for text != "" {
		literal, rest, found := strings.Cut(text, "{")
		p := part{literal: literal, symbol: -1}
		if found {
			slot, after, closed := strings.Cut(rest, "}")
			if !closed {
				return nil, fmt.Errorf("no } in %q", text)
			}
			if err := g.parseSlot(slot, &p); err != nil {
				return nil, err
			}
			rest = after
		}
		parts = append(parts, p)
		text = rest
	}
	return parts, nil
}

func (g *grammar) parseSlot(slot string, p *part) error {
	if n, _ := fmt.Sscanf(slot, "%d-%d", &p.low, &p.high); n == 2 && p.low < p.high {
		return nil
	}
	name := strings.ToLower(slot)
	index, ok := g.index[name]
	if !ok {
		return fmt.Errorf("no section for {%s}", slot)
	}
	p.symbol, p.capital = index, name != slot
	return nil
}
