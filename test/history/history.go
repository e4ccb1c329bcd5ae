// Package history checks what many clients were told by a cluster, side by side
// and across kills: that the answers about each object fit one order, that
// watches lose, repeat and reorder nothing, that lists are states that were, and
// that resourceVersions only grow.
//
// A History is what was asked and answered, and no more: the checks know
// nothing of the server.
package history

import "k8s.io/apimachinery/pkg/types"

// State is what an object holds at a revision; the zero State is no object.
// Values are never written twice.
type State struct {
	Value    string
	Revision int64
}

// Outcome of a call.
type Outcome int

const (
	Done    Outcome = iota
	Refused         // exists already, does not exist, or is at another revision
	Unknown         // cut off: it may have happened, or may yet
)

// Op is a call about one object.
type Op struct {
	Client     int
	Verb       string          // get, create, update, patch, apply, delete
	Form       types.PatchType // of a patch
	Key, Value string
	Expect     int64 // the revision that a write insists on; 0 is any
	// Call and Return are in nanoseconds of one clock. A call whose outcome is
	// unknown returns when it can have no effect any more.
	Call, Return int64
	Outcome      Outcome
	// Got is the object that was returned; deletions return none.
	Got State
}

// List is a whole list, of one page or several, or the state a watch began with.
type List struct {
	Client int
	// Fresh tells that it must hold all that was answered before the call.
	Fresh bool
	// AtLeast and Exactly are revisions that were asked for; 0 is none.
	AtLeast, Exactly int64
	Call, Return     int64
	Revision         int64
	Label            string // only objects of this half; empty is all
	Items            map[string]State
	Repeated         []string // keys that came more than once
}

// Event is one of a watch.
type Event struct {
	Type string // ADDED, MODIFIED, DELETED
	Key  string
	State
}

// Segment is what one watcher saw from a revision on without a gap, however
// often it came back.
type Segment struct {
	Watcher string
	Label   string // only objects of this half; empty is all
	From    int64
	// Base is the state at From, if the watcher knows it.
	Base   map[string]State
	Events []Event
}

// last is the newest revision that the segment tells of.
func (s *Segment) last() int64 {
	if n := len(s.Events); n > 0 {
		return s.Events[n-1].Revision
	}
	return s.From
}

// History is all that clients asked and were told.
type History struct {
	Ops      []Op
	Lists    []List
	Segments []Segment
}

// Half is the label of an object of a value: writes move objects back and
// forth between two halves, so that selections gain and lose them.
func Half(value string) string {
	sum := 0
	for i := range len(value) {
		sum += int(value[i]) * (i + 1)
	}
	if sum%2 == 0 {
		return "even"
	}
	return "odd"
}
