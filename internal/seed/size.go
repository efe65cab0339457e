package seed

import "fmt"

// Size is how much data to make. It can be the value of a flag (flag.TextVar).
type Size int

// Small is made in a moment, Medium has the proportions of a real service, Large is ten times Medium.
const (
	Small Size = iota
	Medium
	Large
)

// amounts are numbers of rows.
type amounts struct{ profiles, posts, follows, likes, products int }

func (s Size) amounts() amounts {
	switch s {
	case Medium:
		return amounts{100_000, 2_000_000, 5_000_000, 5_000_000, 4_000}
	case Large:
		return amounts{1_000_000, 20_000_000, 50_000_000, 50_000_000, 20_000}
	default:
		return amounts{1_000, 20_000, 20_000, 60_000, 400}
	}
}

// String is the name that UnmarshalText reads.
func (s Size) String() string {
	switch s {
	case Small:
		return "small"
	case Medium:
		return "medium"
	case Large:
		return "large"
	default:
		return fmt.Sprintf("Size(%d)", int(s))
	}
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// UnmarshalText reads small, medium or large.
func (s *Size) UnmarshalText(text []byte) error {
	for _, size := range []Size{Small, Medium, Large} {
		if size.String() == string(text) {
			*s = size
			return nil
		}
	}
	return fmt.Errorf("seed: size %q is none of small, medium, large", text)
}
