package nft

import (
	"errors"
	"maps"
	"slices"
	"sync"
)

// Fragment is what one owner wants in a table.
type Fragment struct {
	// Sets of its own; names are unique in the table, and say all there is to
	// say: two sets of one name are the same.
	Sets []*Set
	// Chains of its own; names are unique in the table.
	Chains []Chain
	// Entries in its own sets or in those of the base.
	Entries []Entry
}

// Entry is an element of a set.
type Entry struct {
	Set *Set
	Element
}

// Model is the wanted content of one table, and what of it the kernel has.
// Several owners may want an element of the same key: the first to claim it
// has it, and the next gets it once the first gives it up. A Model is safe for
// concurrent use.
type Model struct {
	table Table

	mu     sync.Mutex
	base   Fragment
	owners map[string]Fragment
	// elements holds every element that someone wants or the kernel has.
	elements map[elementKey]*element
	changed  map[elementKey]struct{}
	// before holds the committed fragment of each owner set since.
	before map[string]Fragment
	// inKernel is false until the whole table has been written.
	inKernel bool
}

type elementKey struct {
	set string
	key Value
}

type element struct {
	set    *Set
	claims []claim
	// has and data are what the kernel has.
	has  bool
	data Value
}

type claim struct {
	owner string
	data  Value
}

// NewModel returns the model of a table that holds base, and whatever owners
// want beside. Nothing is in the kernel before the first Commit, which replaces
// a table of that name.
func NewModel(t Table, base Fragment) *Model {
	m := &Model{
		table: t, base: base,
		owners:   map[string]Fragment{},
		elements: map[elementKey]*element{},
		changed:  map[elementKey]struct{}{},
		before:   map[string]Fragment{},
	}
	m.claim("", Fragment{}, base)
	return m
}

// Set makes f all that owner wants; a zero Fragment ends its part in the
// table. The fragment belongs to the model from here on.
func (m *Model) Set(owner string, f Fragment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.owners[owner]
	if _, again := m.before[owner]; !again {
		m.before[owner] = old
	}
	if f.Sets == nil && f.Chains == nil && f.Entries == nil {
		delete(m.owners, owner)
	} else {
		m.owners[owner] = f
	}
	m.claim(owner, old, f)
}

func (m *Model) claim(owner string, old, f Fragment) {
	wanted := make(map[elementKey]struct{}, len(f.Entries))
	for _, e := range f.Entries {
		k := elementKey{e.Set.Name, e.Key}
		if _, twice := wanted[k]; twice {
			continue
		}
		wanted[k] = struct{}{}
		el := m.elements[k]
		if el == nil {
			el = &element{set: e.Set}
			m.elements[k] = el
		}
		i := slices.IndexFunc(el.claims, func(c claim) bool { return c.owner == owner })
		if i < 0 {
			el.claims = append(el.claims, claim{owner, e.Data})
		} else if el.claims[i].data == e.Data {
			continue
		} else {
			el.claims[i].data = e.Data
		}
		m.changed[k] = struct{}{}
	}
	for _, e := range old.Entries {
		k := elementKey{e.Set.Name, e.Key}
		if _, still := wanted[k]; still {
			continue
		}
		if el := m.elements[k]; el != nil {
			el.claims = slices.DeleteFunc(el.claims, func(c claim) bool { return c.owner == owner })
			m.changed[k] = struct{}{}
		}
	}
}

// Commit brings the kernel's table to what is wanted, in one atomic batch of
// the differences. Should the kernel refuse, because somebody else has changed
// the table, the whole table is written anew; an error means that this failed
// too, and the kernel has what it had.
func (m *Model) Commit(c *Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inKernel {
		b := m.delta()
		err := c.Commit(b)
		if err == nil {
			m.committed()
			return nil
		}
		if refused := (*Error)(nil); !errors.As(err, &refused) {
			return err
		}
		m.inKernel = false
	}
	if err := c.Commit(m.whole()); err != nil {
		return err
	}
	m.inKernel = true
	m.committed()
	return nil
}

// Remove deletes the table from the kernel, if it is there.
func (m *Model) Remove(c *Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inKernel = false
	var b Batch
	b.AddTable(m.table) // so that there is one to delete
	b.DeleteTable(m.table)
	return c.Commit(&b)
}

// committed notes that the kernel has all that is wanted.
func (m *Model) committed() {
	for k := range m.changed {
		el := m.elements[k]
		if el.has = len(el.claims) > 0; el.has {
			el.data = el.claims[0].data
		} else {
			delete(m.elements, k)
		}
	}
	clear(m.changed)
	clear(m.before)
}

// delta orders the changes so that whatever is referred to exists: makings
// come first, deletions last.
func (m *Model) delta() *Batch {
	var (
		b       Batch
		refill  []Chain  // chains whose rules change
		dropped []string // chains to delete
		unused  []string // sets to delete
	)
	for _, owner := range slices.Sorted(maps.Keys(m.before)) {
		old, now := m.before[owner], m.owners[owner]
		for _, s := range now.Sets {
			if !slices.ContainsFunc(old.Sets, func(o *Set) bool { return o.Name == s.Name }) {
				b.AddSet(m.table, s)
			}
		}
		for _, s := range old.Sets {
			if !slices.ContainsFunc(now.Sets, func(n *Set) bool { return n.Name == s.Name }) {
				unused = append(unused, s.Name)
			}
		}
		for _, c := range now.Chains {
			i := slices.IndexFunc(old.Chains, func(o Chain) bool { return o.Name == c.Name })
			if i < 0 {
				b.AddChain(m.table, c)
			}
			if i < 0 || !slices.Equal(old.Chains[i].Rules, c.Rules) {
				refill = append(refill, c)
			}
		}
		for _, c := range old.Chains {
			if !slices.ContainsFunc(now.Chains, func(n Chain) bool { return n.Name == c.Name }) {
				dropped = append(dropped, c.Name)
			}
		}
	}
	var gone, come grouped
	for k := range m.changed {
		el := m.elements[k]
		wanted := len(el.claims) > 0
		if wanted && el.has && el.claims[0].data == el.data {
			continue
		}
		if el.has {
			gone.add(el.set, Element{Key: k.key})
		}
		if wanted {
			come.add(el.set, Element{Key: k.key, Data: el.claims[0].data})
		}
	}
	for _, g := range gone {
		b.DeleteElements(m.table, g.set, g.elements...)
	}
	for _, c := range refill {
		b.FlushChain(m.table, c.Name)
		for _, r := range c.Rules {
			b.AddRule(m.table, c.Name, r)
		}
	}
	for _, g := range come {
		b.AddElements(m.table, g.set, g.elements...)
	}
	for _, name := range dropped { // their rules may lead to one another
		b.FlushChain(m.table, name)
	}
	for _, name := range dropped {
		b.DeleteChain(m.table, name)
	}
	for _, name := range unused {
		b.DeleteSet(m.table, name)
	}
	return &b
}

// whole replaces the table.
func (m *Model) whole() *Batch {
	var b Batch
	b.AddTable(m.table) // so that there is one to delete
	b.DeleteTable(m.table)
	b.AddTable(m.table)
	owners := slices.Sorted(maps.Keys(m.owners))
	each := func(do func(Fragment)) {
		do(m.base)
		for _, owner := range owners {
			do(m.owners[owner])
		}
	}
	each(func(f Fragment) {
		for _, s := range f.Sets {
			b.AddSet(m.table, s)
		}
		for _, c := range f.Chains {
			b.AddChain(m.table, c)
		}
	})
	each(func(f Fragment) {
		for _, c := range f.Chains {
			for _, r := range c.Rules {
				b.AddRule(m.table, c.Name, r)
			}
		}
	})
	var come grouped
	for k, el := range m.elements {
		m.changed[k] = struct{}{} // so that committed takes note of it
		if len(el.claims) > 0 {
			come.add(el.set, Element{Key: k.key, Data: el.claims[0].data})
		}
	}
	for _, g := range come {
		b.AddElements(m.table, g.set, g.elements...)
	}
	return &b
}

// grouped collects elements by their set, in the order that sets turned up.
type grouped []struct {
	set      *Set
	elements []Element
}

func (g *grouped) add(s *Set, e Element) {
	for i := range *g {
		if (*g)[i].set.Name == s.Name {
			(*g)[i].elements = append((*g)[i].elements, e)
			return
		}
	}
	*g = append(*g, struct {
		set      *Set
		elements []Element
	}{s, []Element{e}})
}
