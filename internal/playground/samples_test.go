package playground_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"freshet/internal/playground"
)

func TestSamples_AreValid(t *testing.T) {
	t.Parallel()
	const path = "../../schema.graphqls"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the schema: %v", err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: path, Input: string(text)})
	if err != nil {
		t.Fatalf("load the schema: %v", err)
	}
	names := map[string]bool{}
	page := get(playground.Handler(playground.Options{}), playground.Path).Body.String()
	for _, sample := range configOf(t, page).Samples {
		name, err := check(schema, sample.Query, sample.Variables)
		if err != nil {
			t.Errorf("got %v, want a valid operation and variables:\n%s\n%s", err, sample.Query, sample.Variables)
		}
		if name == "" || names[name] {
			t.Errorf("got operation name %q, want one of its own as the tab's title:\n%s", name, sample.Query)
		}
		names[name] = true
	}
}

// check returns the name of the one operation.
func check(schema *ast.Schema, query, variables string) (string, error) {
	document, errs := gqlparser.LoadQueryWithRules(schema, query, rules.NewDefaultRules())
	if errs != nil {
		return "", errs
	}
	if len(document.Operations) != 1 {
		return "", fmt.Errorf("%d operations", len(document.Operations))
	}
	values := map[string]any{}
	if variables != "" {
		if err := json.Unmarshal([]byte(variables), &values); err != nil {
			return "", fmt.Errorf("variables: %w", err)
		}
	}
	operation := document.Operations[0]
	for name := range values {
		if operation.VariableDefinitions.ForName(name) == nil {
			return "", fmt.Errorf("variable %s is not declared", name)
		}
	}
	_, err := validator.VariableValues(schema, operation, values)
	return operation.Name, err
}
