package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"freshet/internal/redisconn"
)

// sentinels asks each of them, since each has a view of its own of the others and votes by it.
func (e *examination) sentinels(ctx context.Context, s *redisconn.Sentinels) {
	for i, c := range s.Clients {
		check := "redis sentinel " + strconv.Itoa(i+1)
		state, err := c.Master(ctx, s.Master).Result()
		if err != nil {
			e.add(Away, check, fmt.Sprintf("%s can't be asked: %v", c, err),
				"start it again, or see that it watches the name and that its user may run SENTINEL: it has no vote on a failover meanwhile")
			continue
		}
		others, _ := strconv.Atoi(state["num-other-sentinels"])
		known := others + 1
		seen := fmt.Sprintf("knows of %d Sentinels, REDIS_URL names %d; quorum %s", known, len(s.Clients), state["quorum"])
		if err := c.CkQuorum(ctx, s.Master).Err(); err != nil {
			advice := "start the other Sentinels again: without a majority of them nothing takes the primary's place when it dies"
			if !strings.HasPrefix(err.Error(), "NOQUORUM") {
				advice = "let its user run it: ACL SETUSER … +sentinel|ckquorum"
			}
			e.add(Warning, check, err.Error(), advice)
			continue
		}
		e.judge(known < len(s.Clients), Warning, check, seen,
			"see that the Sentinels reach each other and the primary, through which they find each other: it counts no vote of one it does not know")
	}
}
