package cache

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"

	"clipper/internal/store"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// seed makes the hashes of stored bytes comparable within this process.
var seed = maphash.MakeSeed()

// Sum is a hash of stored bytes, to be compared with Entry.Sum.
func Sum(value []byte) uint64 { return maphash.Bytes(seed, value) }

// Entry is one object at one revision. It never changes, but for encodings
// that are made when first asked for.
type Entry struct {
	// Key is "namespace/name", or "name" for what has no namespace.
	Key string
	// Object is shared by the whole process and read-only.
	Object runtime.Object
	// Revision is the object's resourceVersion.
	Revision int64
	// Size is the length of the stored bytes, and Sum their hash (package's Sum).
	Size int
	Sum  uint64

	meta      metav1.Object
	index     string // the value of the resource's indexed field
	encodings atomic.Pointer[encoding]
}

// Bytes returns the object as the encoder makes it. It is made at most once
// for as long as it is kept (but for a race, whose loser is dropped). The bytes
// are shared and read-only.
func (e *Entry) Bytes(by *Encoder) ([]byte, error) {
	head := e.encodings.Load()
	for n := head; n != nil; n = n.next {
		if n.by == by {
			return n.get(e.Object)
		}
	}
	made := &encoding{by: by, next: head}
	b, err := made.get(e.Object)
	if err != nil {
		return nil, err
	}
	for !e.encodings.CompareAndSwap(made.next, made) {
		made.next = e.encodings.Load()
		for n := made.next; n != nil; n = n.next {
			if n.by == by {
				return n.get(e.Object)
			}
		}
	}
	return b, nil
}

// Meta returns the object's metadata, read-only.
func (e *Entry) Meta() metav1.Object { return e.meta }

func (e *Entry) labels() labels.Set { return e.meta.GetLabels() }

// entry makes an entry of a stored item, decoding it if it must.
func (r *Resource) entry(it *store.Item) (*Entry, error) {
	obj, _ := it.Object.(runtime.Object)
	if obj == nil {
		var err error
		if obj, err = r.row.DecodeStored(it.Value, it.Revision); err != nil {
			return nil, err
		}
	}
	e := r.entryOf(strings.TrimPrefix(it.Key, r.prefix), obj, it.Revision)
	e.Size, e.Sum = len(it.Value), Sum(it.Value)
	return e, nil
}

// NewEntry returns an entry of an object that the cache does not hold: of a dry
// run, or one that is gone.
func NewEntry(key string, obj runtime.Object, revision int64) *Entry {
	return &Entry{Key: key, Object: obj, Revision: revision, meta: obj.(metav1.Object)}
}

func (r *Resource) entryOf(key string, obj runtime.Object, revision int64) *Entry {
	e := NewEntry(key, obj, revision)
	if r.indexed != "" {
		e.index = r.row.Fields(obj).Get(r.indexed)
	}
	return e
}

// at returns the same state under another revision, as the last word on an
// object that is deleted or leaves a selection.
func (r *Resource) at(e *Entry, revision int64) *Entry {
	obj := e.Object.DeepCopyObject()
	obj.(metav1.Object).SetResourceVersion(strconv.FormatInt(revision, 10))
	n := r.entryOf(e.Key, obj, revision)
	n.Size = e.Size
	return n
}
