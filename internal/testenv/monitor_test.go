package testenv_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet/internal/testenv"
)

func TestMonitor_RecordsOneDatabase(t *testing.T) {
	t.Parallel()
	var clients []*redis.Client
	mine := testenv.SharedRedis(t)
	for _, url := range []string{mine, testenv.SharedRedis(t)} {
		opts, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, redis.NewClient(opts))
		defer clients[len(clients)-1].Close()
	}
	monitor := testenv.NewMonitor(t, mine)
	for _, value := range []string{"one", "two [0 x] \"y\"\r\n"} {
		for _, client := range clients {
			if err := client.LPush(t.Context(), "list", value).Err(); err != nil {
				t.Fatal(err)
			}
		}
		monitor.Commands()
	}
	got := slices.DeleteFunc(monitor.Commands(), func(command string) bool { return !strings.HasPrefix(command, `"lpush"`) })
	if want := []string{`"lpush" "list" "one"`, `"lpush" "list" "two [0 x] \"y\"\r\n"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
