package evaluator

import (
	"context"

	"tocsin/oncall"
)

// Store is what the evaluator needs of the store.
type Store interface {
	// LoadEvaluator returns all alerts and rule health as committed.
	LoadEvaluator(ctx context.Context) (oncall.EvaluatorState, error)
	// CommitEvaluation commits what one evaluation decided, whole or not at all. After an error whose
	// outcome is unknown the evaluator reloads before it goes on.
	CommitEvaluation(ctx context.Context, w oncall.Write, e oncall.Evaluation) error
}
