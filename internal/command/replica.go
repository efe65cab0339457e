package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"freshet/internal/server"
	"freshet/internal/store"
)

// replicaConns is as many heavy reads as run at a time.
const replicaConns = 5

// openReplica refuses an address that leads elsewhere. A replica that can't be asked now may be asked later: the store looks
// before each read, and the primary has what it can't answer.
func (i *instance) openReplica(ctx context.Context) (err error) {
	if i.options.ReplicaURL == "" {
		return nil
	}
	if i.replica, err = store.Open(i.options.ReplicaURL, replicaConns); err != nil {
		return fmt.Errorf("--replica-url: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(i.options.tuning.startWait, defaultStartWait))
	defer cancel()
	if err := requireReachable(ctx, i.replica); err != nil {
		i.options.Log.Warn("the replica can't be used yet, the primary has its reads", "error", err)
		return nil
	}
	of, err := askIdentity(ctx, i.db)
	if err != nil {
		return err
	}
	is, err := askIdentity(ctx, i.replica)
	switch {
	case err != nil:
		i.options.Log.Warn("the replica can't be asked what it is, the primary has its reads", "error", err)
	case is.database != of.database:
		return errors.New("--replica-url leads to another database than --database-url")
	case !is.replica: // as after a failover, when instances must start all the same
		i.options.Log.Warn("--replica-url leads to a primary, which has its reads as --database-url")
	}
	return nil
}

func (i *instance) registerReplica() error {
	if i.replica == nil {
		return nil
	}
	return server.RegisterReplica(i.registry, i.store.ReplicaReads)
}
