package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Check returns what cannot be.
func Check(h *History) (wrong []string) {
	wrong = append(wrong, growth(h)...)
	wrong = append(wrong, order(h)...)
	for i := range h.Segments {
		wrong = append(wrong, sequence(&h.Segments[i])...)
	}
	full := witnesses(h)
	wrong = append(wrong, writes(h, full)...)
	wrong = append(wrong, lists(h, full)...)
	wrong = append(wrong, watches(h, full)...)
	return wrong
}

// told is a revision that an answer held, after all that was told before.
type told struct {
	call, end, revision int64
	// newer: the revision must be newer than all that was told before the
	// call; otherwise it must not be older.
	newer bool
	what  string
}

// growth checks that writes get newer revisions than any told before, and that
// a list that must be fresh is not older.
func growth(h *History) (wrong []string) {
	var all []told
	for _, o := range h.Ops {
		if o.Outcome == Done && o.Got.Revision > 0 {
			write := o.Verb != "get"
			t := told{o.Call, o.Return, o.Got.Revision, write, fmt.Sprintf("%s of %s", o.Verb, o.Key)}
			if !write {
				t.call = -1 // an object may be older than the newest write
			}
			all = append(all, t)
		}
	}
	for _, l := range h.Lists {
		t := told{l.Call, l.Return, l.Revision, false, "a list"}
		if !l.Fresh {
			t.call = -1
		}
		all = append(all, t)
		if l.Revision < l.AtLeast || l.Exactly > 0 && l.Revision != l.Exactly {
			wrong = append(wrong, fmt.Sprintf("a list is of revision %d, where at least %d, exactly %d was asked for", l.Revision, l.AtLeast, l.Exactly))
		}
	}
	byEnd := slices.SortedFunc(slices.Values(all), func(a, b told) int { return cmp.Compare(a.end, b.end) })
	byCall := slices.SortedFunc(slices.Values(all), func(a, b told) int { return cmp.Compare(a.call, b.call) })
	newest, i := told{}, 0
	for _, t := range byCall {
		for ; i < len(byEnd) && byEnd[i].end < t.call; i++ {
			if byEnd[i].revision > newest.revision {
				newest = byEnd[i]
			}
		}
		if t.revision < newest.revision || t.newer && t.revision == newest.revision {
			wrong = append(wrong, fmt.Sprintf("%s got revision %d after %s had got %d", t.what, t.revision, newest.what, newest.revision))
		}
	}
	return wrong
}

// anyRevision stands for one that nobody was told.
const anyRevision = -1

// objects is the model of the objects: each holds a State.
var objects = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range history {
			k := o.Input.(Op).Key
			by[k] = append(by[k], o)
		}
		return slices.Collect(maps.Values(by))
	},
	Init: func() []any { return []any{State{}} },
	Step: func(state, input, _ any) []any { return step(state.(State), input.(Op)) },
	DescribeOperation: func(input, _ any) string {
		return fmt.Sprintf("%+v", input)
	},
	DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
}).ToModel()

// step returns the states that may follow.
func step(s State, o Op) []any {
	exists := s != State{}
	// A write goes ahead if the object is there (or not, for a create), and at
	// the revision it insists on. Of a revision that nobody was told nobody can
	// insist on.
	able := exists
	switch {
	case o.Verb == "create":
		able = !exists
	case o.Verb == "apply":
		able = true
	case o.Expect != 0:
		able = exists && s.Revision == o.Expect
	}
	after := State{Value: o.Value, Revision: o.Got.Revision}
	if o.Verb == "delete" {
		after = State{}
	}
	switch {
	case o.Verb == "get" && o.Outcome == Unknown:
		return []any{s}
	case o.Verb == "get":
		if s.Value != o.Got.Value || s.Revision != o.Got.Revision && s.Revision != anyRevision {
			return nil
		}
		return []any{o.Got}
	case o.Outcome == Unknown:
		if !able {
			return []any{s}
		}
		if o.Verb != "delete" {
			after.Revision = anyRevision
		}
		return []any{s, after}
	case o.Outcome == Refused:
		if able {
			return nil
		}
		return []any{s}
	case able:
		return []any{after}
	}
	return nil
}

// order looks for one order of the calls about each object that explains all
// the answers. Fresh lists are reads of all objects.
func order(h *History) (wrong []string) {
	var ops []porcupine.Operation
	add := func(o Op) {
		ops = append(ops, porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Return: o.Return})
	}
	keys := map[string]bool{}
	for _, o := range h.Ops {
		keys[o.Key] = true
		add(o)
	}
	for _, l := range h.Lists {
		if !l.Fresh || l.Label != "" {
			continue
		}
		for k := range keys {
			add(Op{Client: l.Client, Verb: "get", Key: k, Call: l.Call, Return: l.Return, Got: l.Items[k]})
		}
	}
	for _, part := range objects.Partition(ops) {
		switch porcupine.CheckOperationsTimeout(objects, part, time.Minute) {
		case porcupine.Illegal:
			wrong = append(wrong, fmt.Sprintf("no order explains the %d answers about %s", len(part), part[0].Input.(Op).Key))
		case porcupine.Unknown:
			wrong = append(wrong, fmt.Sprintf("no order was found in a minute for the %d answers about %s", len(part), part[0].Input.(Op).Key))
		}
	}
	return wrong
}

// sequence checks a segment by itself: revisions grow, and types follow from
// what was there before.
func sequence(s *Segment) (wrong []string) {
	bad := func(e Event, what string) {
		wrong = append(wrong, fmt.Sprintf("watcher %s: %s of %s at %d %s", s.Watcher, e.Type, e.Key, e.Revision, what))
	}
	have := maps.Clone(s.Base)
	last := s.From
	for _, e := range s.Events {
		if e.Revision <= last {
			bad(e, fmt.Sprintf("comes after %d", last))
		}
		last = e.Revision
		if have == nil {
			continue
		}
		_, there := have[e.Key]
		if there != (e.Type != "ADDED") {
			bad(e, fmt.Sprintf("although it being there is %v", there))
		}
		if e.Type == "DELETED" {
			delete(have, e.Key)
		} else {
			have[e.Key] = e.State
		}
	}
	return wrong
}

// witnesses are the segments that tell of all objects from a known state on.
func witnesses(h *History) (full []*Segment) {
	for i := range h.Segments {
		if s := &h.Segments[i]; s.Label == "" && s.Base != nil {
			full = append(full, s)
		}
	}
	return full
}

// writes checks that what was acknowledged is told as it was, and once.
func writes(h *History, full []*Segment) (wrong []string) {
	for _, w := range full {
		by := make(map[int64]Event, len(w.Events))
		for _, e := range w.Events {
			by[e.Revision] = e
		}
		for _, o := range h.Ops {
			at := o.Got.Revision
			if o.Verb == "get" || o.Outcome != Done || at <= w.From || at > w.last() {
				continue
			}
			if e, ok := by[at]; !ok {
				wrong = append(wrong, fmt.Sprintf("watcher %s was not told of the %s of %s at %d", w.Watcher, o.Verb, o.Key, at))
			} else if e.Key != o.Key || e.Value != o.Value || e.Type == "DELETED" {
				wrong = append(wrong, fmt.Sprintf("watcher %s was told %+v of the %s of %s with %s", w.Watcher, e, o.Verb, o.Key, o.Value))
			}
		}
	}
	return wrong
}

// lists checks that each list is the state at its revision.
func lists(h *History, full []*Segment) (wrong []string) {
	all := slices.SortedFunc(slices.Values(h.Lists), func(a, b List) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, l := range all {
		for _, k := range l.Repeated {
			wrong = append(wrong, fmt.Sprintf("a list at %d holds %s twice", l.Revision, k))
		}
	}
	for _, w := range full {
		have, next := maps.Clone(w.Base), 0
		for _, l := range all {
			if l.Revision < w.From || l.Revision > w.last() {
				continue
			}
			for ; next < len(w.Events) && w.Events[next].Revision <= l.Revision; next++ {
				if e := w.Events[next]; e.Type == "DELETED" {
					delete(have, e.Key)
				} else {
					have[e.Key] = e.State
				}
			}
			want := maps.Clone(have)
			maps.DeleteFunc(want, func(_ string, st State) bool { return l.Label != "" && Half(st.Value) != l.Label })
			if !maps.Equal(want, l.Items) {
				wrong = append(wrong, fmt.Sprintf("a list at %d holds %v, and watcher %s knows of %v", l.Revision, l.Items, w.Watcher, want))
			}
		}
	}
	return wrong
}

// watches checks each segment against what the witnesses know: it holds all
// that its selection must be told, and nothing else.
func watches(h *History, full []*Segment) (wrong []string) {
	for i := range h.Segments {
		s := &h.Segments[i]
		for _, w := range full {
			from, to := max(s.From, w.From), min(s.last(), w.last())
			if s == w || from >= to {
				continue
			}
			want := w.selected(s.Label, from, to)
			var got []Event
			for _, e := range s.Events {
				if e.Revision > from && e.Revision <= to {
					got = append(got, e)
				}
			}
			if !slices.Equal(got, want) {
				wrong = append(wrong, fmt.Sprintf("watcher %s saw other events between %d and %d than watcher %s: %s", s.Watcher, from, to, w.Watcher, difference(got, want)))
			}
		}
	}
	return wrong
}

// selected returns the events that a selection is told in an interval.
func (s *Segment) selected(label string, from, to int64) (out []Event) {
	have := maps.Clone(s.Base)
	in := func(st State) bool { return st != State{} && (label == "" || Half(st.Value) == label) }
	for _, e := range s.Events {
		was := have[e.Key]
		var is State
		if e.Type == "DELETED" {
			delete(have, e.Key)
		} else {
			is = e.State
			have[e.Key] = is
		}
		if e.Revision <= from || e.Revision > to {
			continue
		}
		switch {
		case in(was) && in(is):
			out = append(out, Event{"MODIFIED", e.Key, is})
		case in(is):
			out = append(out, Event{"ADDED", e.Key, is})
		case in(was): // as it was last seen, at the revision it left
			out = append(out, Event{"DELETED", e.Key, State{was.Value, e.Revision}})
		}
	}
	return out
}

func difference(got, want []Event) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%+v is missing at the end", want[i])
		case i >= len(want):
			return fmt.Sprintf("%+v is too much", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("%+v instead of %+v", got[i], want[i])
		}
	}
	return ""
}
