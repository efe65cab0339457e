package server

import (
	"testing"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
