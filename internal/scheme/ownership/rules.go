package ownership

import (
	_ "embed"
	"reflect"
	"strings"
	"sync"
)

//go:generate go run clipper/internal/scheme/ownership/gen

//go:embed rules.txt
var ruleLines string

// rulesOf returns how the fields of a struct type are owned where it is not
// the usual way, by their names: "atomic", "set", or the keys of a list. The
// name "" is the type itself.
func rulesOf(t reflect.Type) map[string]string {
	line, ok := ruleIndex()[t.PkgPath()+"."+t.Name()]
	if !ok {
		return nil
	}
	rules := map[string]string{}
	for _, r := range strings.Fields(line) {
		name, rule, _ := strings.Cut(r, "=")
		rules[name] = rule
	}
	return rules
}

// ruleIndex is the lines by type; a line is read when its type is met.
var ruleIndex = sync.OnceValue(func() map[string]string {
	index := make(map[string]string, 160)
	for line := range strings.Lines(ruleLines) {
		name, rules, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		index[name] = rules
	}
	return index
})
