// Package store is the contract of what holds the cluster's state: an ordered
// map of keys to values with etcd's semantics.
//
// One revision counts every write of the whole store. A write compares and
// swaps on the revision of its key. A list can be read at a past revision, a
// watch starts after one, and compaction forgets the past. An acknowledged
// write survives SIGKILL and power loss, except a lazy one, which may be lost
// if power fails within a second; a revision, once handed out, is never handed
// out again for something else, whatever was lost.
//
// Backends live below this package; storetest holds the one suite that every
// backend must pass.
package store

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound: the key does not exist (at the revision asked for).
	ErrNotFound = errors.New("key not found")
	// ErrConflict: the key is not at the expected revision.
	ErrConflict = errors.New("key is not at the expected revision")
	// ErrCompacted: the revision asked for has been compacted away.
	ErrCompacted = errors.New("revision has been compacted")
	// ErrFuture: the revision asked for has not been reached.
	ErrFuture = errors.New("revision is in the future")
	// ErrNoSpace: the disk is full; nothing was written and reads go on.
	ErrNoSpace = errors.New("no space left for the store")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store is closed")
)

// Versioned is an object that can be told the revision it was stored at.
// Every API object is one.
type Versioned interface{ SetResourceVersion(version string) }

// Item is one key at one revision. Value and Object are never changed by
// anyone once an Item holds them.
type Item struct {
	Key            string
	Value          []byte
	CreateRevision int64
	Revision       int64
	// Object is what Value decodes to, if the writer handed it along in this
	// process; nil otherwise. Its resourceVersion is Revision.
	Object Versioned
}

// Event is one write.
type Event struct {
	// Item is the state after the write. For a deletion, Value is nil and
	// Revision is that of the deletion. A creation's is its CreateRevision.
	Item
	Deleted bool
}

// Write is one compare-and-swap.
type Write struct {
	Key string
	// Value is the new value; nil deletes the key.
	Value []byte
	// Expect is the revision the key must be at; 0: it must not exist.
	Expect int64
	// Object, if set, is what Value encodes. The store owns it from here on:
	// it sets the resourceVersion and hands it to watchers as Item.Object.
	// For a deletion it is the last state of the object, and it becomes the
	// Object of the Event's Item with the revision of the deletion.
	Object Versioned
	// Lazy allows the write to be synced up to a second after it was
	// acknowledged (Leases and Events, so that an idle cluster spares its disk).
	Lazy bool
	// TTL, if positive, deletes the key that long after this write, unless it
	// is written again. The deletion is an ordinary write, seen by watches.
	TTL time.Duration
}

// Range names the keys that start with Prefix.
type Range struct {
	Prefix string
	// After, if set, leaves out keys up to and including it (paging).
	After string
	// Revision to read at; 0 is the newest.
	Revision int64
	// Limit on items returned; 0 is none.
	Limit int
}

// Page is the answer to a List, in the order of the keys.
type Page struct {
	Items []Item
	// Revision the whole page was read at.
	Revision int64
	// More tells whether keys follow the last item; Remaining is how many.
	More      bool
	Remaining int64
}

// Store is safe for concurrent use.
type Store interface {
	// Apply makes one write and returns its revision. Errors: ErrConflict
	// (also when a deletion's key does not exist), ErrNoSpace, ErrClosed.
	Apply(ctx context.Context, w Write) (int64, error)

	// Get returns the newest state of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (Item, error)

	// List reads a range at one revision. Errors: ErrCompacted, ErrFuture.
	List(ctx context.Context, r Range) (Page, error)

	// Watch calls sink with every write under prefix after the given
	// revision, in the order of revisions, each exactly once, from one
	// goroutine at a time, and blocks until ctx ends (nil) or the events can
	// no longer be had (ErrCompacted, ErrClosed, ErrFuture). A batch holds whole
	// revisions. started, if not nil, is called once, when what was missed
	// until now has been told. Where the backend can, from then on sink has
	// returned before Apply returns for the same write, so sink must be quick
	// and must not call the store.
	Watch(ctx context.Context, prefix string, after int64, started func(), sink func([]Event)) error

	// Revision returns the newest revision that was acknowledged.
	Revision() int64

	// Compact forgets all that was overwritten or deleted before revision.
	Compact(ctx context.Context, revision int64) error

	// Close syncs what is lazy and releases the store.
	Close() error
}
