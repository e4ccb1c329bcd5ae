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
	"k8s.io/apimachinery/pkg/types"
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

	encodings atomic.Pointer[encoding]
}

// Bytes returns the object as the encoder makes it. It is made at most once
// for as long as it is kept (but for a race, whose loser is dropped). The bytes
// are shared and read-only.
func (e *Entry) Bytes(by *Encoder) ([]byte, error) { return e.encoded(by, reading) }

// News is Bytes for who wrote the object or watches it: what nobody else asks
// for is not kept for long.
func (e *Entry) News(by *Encoder) ([]byte, error) { return e.encoded(by, telling) }

func (e *Entry) encoded(by *Encoder, purpose purpose) ([]byte, error) {
	for {
		head := e.encodings.Load()
		for n := head; n != nil; n = n.next {
			if n.by == by {
				return n.get(e, purpose)
			}
		}
		n := &encoding{by: by, next: head}
		if e.encodings.CompareAndSwap(head, n) {
			return n.get(e, purpose)
		}
	}
}

// forget lets go of an encoding without bytes, if it is the last that was made.
func (e *Entry) forget(n *encoding) { e.encodings.CompareAndSwap(n, n.next) }

// Meta returns the object's metadata, read-only.
func (e *Entry) Meta() metav1.Object { return e.Object.(metav1.Object) }

func (e *Entry) labels() labels.Set { return e.Meta().GetLabels() }

// entry makes an entry of a stored item, decoding it if it must. The object is
// nobody else's yet.
func (r *Resource) entry(it *store.Item) (*Entry, error) {
	obj, _ := it.Object.(runtime.Object)
	if obj == nil {
		var err error
		if obj, err = r.row.DecodeStored(it.Value, it.Revision); err != nil {
			return nil, err
		}
	}
	e := NewEntry(strings.TrimPrefix(it.Key, r.prefix), obj, it.Revision)
	e.gather()
	e.Size, e.Sum = len(it.Value), Sum(it.Value)
	return e, nil
}

// NewEntry returns an entry of an object that the cache does not hold: of a dry
// run, or one that is gone.
func NewEntry(key string, obj runtime.Object, revision int64) *Entry {
	return &Entry{Key: key, Object: obj, Revision: revision}
}

// gather puts the small texts that are the object's own into one piece of
// memory: many small pieces take more, and what is allocated beside them and
// goes again leaves gaps between them.
func (e *Entry) gather() {
	m := e.Meta()
	uid, version := m.GetUID(), m.GetResourceVersion()
	key := e.Key
	all := key + string(uid) + version
	e.Key = all[:len(key)]
	m.SetUID(types.UID(all[len(key) : len(key)+len(uid)]))
	m.SetResourceVersion(all[len(key)+len(uid):])
	namespace, name, ok := strings.Cut(e.Key, "/")
	if !ok {
		namespace, name = "", e.Key
	}
	if m.GetName() == name && m.GetNamespace() == namespace {
		m.SetName(name)
		m.SetNamespace(namespace)
	}
}

// at returns the same state under another revision, as the last word on an
// object that is deleted or leaves a selection.
func (e *Entry) at(revision int64) *Entry {
	obj := e.Object.DeepCopyObject()
	obj.(metav1.Object).SetResourceVersion(strconv.FormatInt(revision, 10))
	n := NewEntry(e.Key, obj, revision)
	n.Size = e.Size
	return n
}
