package ownership

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"clipper/internal/scheme"
)

const (
	// maxUpdaters is how many managers that update may own fields of an object;
	// the oldest beyond it are put together as ancientManager.
	maxUpdaters    = 10
	ancientManager = "ancient-changes"
	unknownManager = "unknown"
)

// Write is a write that was no apply.
type Write struct {
	// Resource is the row that the request named; its version is what the
	// manager is said to have written.
	Resource    *scheme.Resource
	Subresource string
	Manager     string
	Time        metav1.Time
}

// Update states in obj what the write changed of live. Both have the form that
// is stored; live is nil if obj is created. What obj says of ownership itself
// is honoured: an empty list, or one empty entry, ends the tracking until the
// next apply; what cannot be read counts as nothing said. obj shares what did
// not change with live; neither its entries nor live are ever changed.
func (t *Tracker) Update(w Write, live, obj runtime.Object) error {
	m, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%T has no metadata", obj)
	}
	base, tracked := said(w.Subresource, live, m)
	if !tracked {
		m.SetManagedFields(nil)
		return nil
	}
	if w.Manager == "" {
		w.Manager = unknownManager
	}
	u := update{Tracker: t, Write: w, live: live, obj: obj, entries: base}
	entries, err := u.run()
	if err != nil {
		return err
	}
	m.SetManagedFields(entries)
	return nil
}

// said returns the entries that a write starts from, and whether the object is
// tracked at all.
func said(subresource string, live runtime.Object, m metav1.Object) (base []metav1.ManagedFieldsEntry, tracked bool) {
	now := m.GetManagedFields()
	if live == nil {
		if resets(now) {
			return nil, true
		}
		return claimed(now), true
	}
	base = live.(metav1.Object).GetManagedFields()
	if subresource != "" || len(now) == 0 && now == nil {
		return base, len(base) > 0
	}
	if resets(now) {
		return nil, false
	}
	if slices.EqualFunc(base, now, sameEntry) {
		return base, len(base) > 0
	}
	if claims := claimed(now); len(claims) > 0 {
		base = claims
	}
	return base, len(base) > 0
}

func resets(entries []metav1.ManagedFieldsEntry) bool {
	if len(entries) == 0 {
		return entries != nil
	}
	return len(entries) == 1 && reflect.DeepEqual(entries[0], metav1.ManagedFieldsEntry{})
}

// claimed returns a client's entries as they would be written here: in order,
// each manager's once (the last counts), and their fields in the one form that
// sets are compared in. It returns none if they cannot be built upon.
func claimed(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	if len(entries) == 0 || managedfields.ValidateManagedFields(entries) != nil {
		return nil
	}
	claims := make([]metav1.ManagedFieldsEntry, 0, len(entries))
	for _, e := range entries {
		claims = slices.DeleteFunc(claims, func(c metav1.ManagedFieldsEntry) bool { return sameManager(&c, &e) })
		if e.FieldsV1 == nil {
			continue
		}
		fields := &fieldpath.Set{}
		if fields.FromJSON(bytes.NewReader(e.FieldsV1.Raw)) != nil {
			return nil
		}
		raw, err := fields.ToJSON()
		if err != nil || (&set{}).parse(raw) != nil { // too deep
			return nil
		}
		if e.FieldsV1 = metav1.NewFieldsV1(string(raw)); !fields.Empty() {
			claims = append(claims, e)
		}
	}
	slices.SortStableFunc(claims, inOrder)
	return claims
}

// sameManager tells whether two entries are of one manager: who applies, applies
// in every version.
func sameManager(a, b *metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource &&
		(a.APIVersion == b.APIVersion || a.Operation == metav1.ManagedFieldsOperationApply)
}

// SameButTime tells whether entries differ in nothing but when managers wrote,
// in any order.
func SameButTime(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !alike(&a[i], &b[i]) && !slices.ContainsFunc(b, func(e metav1.ManagedFieldsEntry) bool { return alike(&a[i], &e) }) {
			return false
		}
	}
	return true
}

func sameEntry(a, b metav1.ManagedFieldsEntry) bool {
	return a.Time.Equal(b.Time) && alike(&a, &b)
}

// alike compares all of two entries but their times.
func alike(a, b *metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion &&
		a.FieldsType == b.FieldsType && a.Subresource == b.Subresource &&
		(a.FieldsV1 == b.FieldsV1 || a.FieldsV1 != nil && b.FieldsV1 != nil && bytes.Equal(a.FieldsV1.Raw, b.FieldsV1.Raw))
}

// update is one write's work on the entries.
type update struct {
	*Tracker
	Write
	live, obj runtime.Object
	entries   []metav1.ManagedFieldsEntry
	// own is what changed as the request's version sees it, others as others do.
	own    *comparison
	others map[string]*comparison
}

func (u *update) release() {
	if u.own != nil {
		u.own.release()
	}
	for _, c := range u.others {
		c.release()
	}
}

func (u *update) run() ([]metav1.ManagedFieldsEntry, error) {
	var err error
	defer u.release()
	if u.own, err = u.compare(u.Resource); err != nil {
		return nil, err
	}
	if u.own.none() && u.oneVersion() {
		return u.entries, nil
	}
	kept := make([]metav1.ManagedFieldsEntry, 0, len(u.entries)+1)
	mine := -1
	for _, e := range u.entries {
		c, err := u.seenBy(e.APIVersion)
		if err != nil || e.FieldsV1 == nil {
			continue // nothing serves that version any more
		}
		if mine < 0 && u.isMine(&e) {
			mine = len(kept)
			kept = append(kept, e)
			continue
		}
		if e.FieldsV1 = u.without(e.FieldsV1, c); e.FieldsV1 != nil {
			kept = append(kept, e)
		}
	}
	kept = u.take(kept, mine, &u.own.changes)
	slices.SortStableFunc(kept, inOrder)
	return u.capped(kept), nil
}

func (u *update) oneVersion() bool {
	for i := range u.entries {
		if u.entries[i].APIVersion != u.Resource.APIVersion() {
			return false
		}
	}
	return true
}

func (u *update) isMine(e *metav1.ManagedFieldsEntry) bool {
	return e.Operation == metav1.ManagedFieldsOperationUpdate && e.Manager == u.Manager &&
		e.Subresource == u.Subresource && e.APIVersion == u.Resource.APIVersion()
}

// seenBy returns what the write changed, as the version has it.
func (u *update) seenBy(apiVersion string) (*changes, error) {
	if apiVersion == u.Resource.APIVersion() {
		return &u.own.changes, nil
	}
	if c := u.others[apiVersion]; c != nil {
		return &c.changes, nil
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, err
	}
	row := u.table.ByKind(gv.WithKind(u.Resource.Kind))
	if row == nil || row.Stored != u.Resource.Stored {
		return nil, fmt.Errorf("%s: nothing serves version %s", u.Resource.Kind, apiVersion)
	}
	c, err := u.compare(row)
	if err != nil {
		return nil, err
	}
	if u.others == nil {
		u.others = map[string]*comparison{}
	}
	u.others[apiVersion] = c
	return &c.changes, nil
}

// compare finds what the write changed of the objects in the row's version.
func (u *update) compare(row *scheme.Resource) (*comparison, error) {
	obj, err := served(row, u.obj)
	if err != nil {
		return nil, err
	}
	k := u.kind(row)
	from := k.zero
	if u.live != nil {
		live, err := served(row, u.live)
		if err != nil {
			return nil, err
		}
		from = pointer(live)
	}
	s := u.scope(row, u.Subresource)
	c := u.plans.compare(k.plan, from, pointer(obj), s.except)
	s.keep(&c.changes)
	return c, nil
}

// served returns a stored object in the row's version.
func served(row *scheme.Resource, obj runtime.Object) (runtime.Object, error) {
	if row.FromStored == nil {
		return obj, nil
	}
	return row.FromStored(obj)
}

func pointer(obj runtime.Object) unsafe.Pointer { return reflect.ValueOf(obj).UnsafePointer() }

// without returns the fields that others keep, or nil if none.
func (u *update) without(f *metav1.FieldsV1, c *changes) *metav1.FieldsV1 {
	if !touches(f.Raw, c) {
		return f
	}
	s, err := u.read(f.Raw)
	if err != nil {
		return nil
	}
	defer u.free(s)
	s.subtract(&c.removed)
	s.subtract(&c.modified)
	s.subtract(&c.added)
	return u.written(s)
}

func touches(raw []byte, c *changes) bool {
	for _, s := range []*set{&c.removed, &c.modified, &c.added} {
		if s.empty() {
			continue
		}
		if n, err := s.common(raw); err != nil || n > 0 {
			return true
		}
	}
	return false
}

// take gives the writer what it wrote, and the time if there is any.
func (u *update) take(entries []metav1.ManagedFieldsEntry, mine int, c *changes) []metav1.ManagedFieldsEntry {
	now := u.Time
	wrote := !c.modified.empty() || !c.added.empty()
	if mine < 0 {
		if !wrote {
			return entries
		}
		all := &c.added
		if !c.modified.empty() {
			all = &c.modified
			all.union(&c.added)
		}
		return append(entries, metav1.ManagedFieldsEntry{
			Manager: u.Manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: u.Resource.APIVersion(),
			Time: &now, FieldsType: "FieldsV1", FieldsV1: u.written(all), Subresource: u.Subresource,
		})
	}
	e := &entries[mine]
	if wrote {
		e.Time = &now
	}
	if u.owns(e.FieldsV1.Raw, c) {
		return entries
	}
	s, _ := u.read(e.FieldsV1.Raw)
	defer u.free(s)
	s.subtract(&c.removed)
	s.union(&c.modified)
	s.union(&c.added)
	if e.FieldsV1 = u.written(s); e.FieldsV1 == nil {
		return slices.Delete(entries, mine, mine+1)
	}
	return entries
}

// owns tells whether the set has all that was written, and nothing that went.
func (u *update) owns(raw []byte, c *changes) bool {
	for _, s := range []*set{&c.modified, &c.added} {
		if s.empty() {
			continue
		}
		if n, err := s.common(raw); err != nil || n < s.count() {
			return false
		}
	}
	if c.removed.empty() {
		return true
	}
	n, err := c.removed.common(raw)
	return err == nil && n == 0
}

// inOrder is how entries are listed: appliers first, then by time.
func inOrder(a, b metav1.ManagedFieldsEntry) int {
	return cmp.Or(
		cmp.Compare(a.Operation, b.Operation),
		cmp.Compare(seconds(a.Time), seconds(b.Time)),
		cmp.Compare(a.Manager, b.Manager),
		cmp.Compare(a.APIVersion, b.APIVersion),
		cmp.Compare(a.Subresource, b.Subresource),
	)
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}
