package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// noNodes is what is said when there is not a single node.
const noNodes = "no nodes available to schedule pods"

// tally counts the reasons why nodes do not fit.
type tally struct {
	nodes   int
	reasons map[string]int
}

func (t *tally) add(f *failure) { t.addTimes(f, 1) }

func (t *tally) addTimes(f *failure, n int) {
	if n == 0 {
		return
	}
	if t.reasons == nil {
		t.reasons = map[string]int{}
	}
	for _, reason := range f.reasons {
		t.reasons[reason] += n
	}
}

// String is the text of events and conditions, as upstream words it.
func (t *tally) String() string {
	if t.nodes == 0 {
		return noNodes
	}
	var parts []string
	for reason, n := range t.reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	text := fmt.Sprintf("0/%d nodes are available", t.nodes)
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text + "."
}
