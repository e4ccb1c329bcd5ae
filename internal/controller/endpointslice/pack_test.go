package endpointslice

import (
	"fmt"
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

// Whatever changes, the slices hold exactly what is wanted, few are written,
// and a second look changes nothing.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		families := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4}
		if rapid.Bool().Draw(t, "dual") {
			families = append(families, discoveryv1.AddressTypeIPv6)
		}
		like := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{GenerateName: "s-", Labels: map[string]string{"a": "b"}}}
		var have []*discoveryv1.EndpointSlice
		made := 0
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			var groups []Group
			for f, family := range families {
				for p := range rapid.IntRange(0, 2).Draw(t, "groups") {
					g := Group{Family: family, Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(p))}}}
					first := rapid.IntRange(0, 300).Draw(t, "first")
					for i := range rapid.IntRange(1, 350).Draw(t, "endpoints") {
						g.Endpoints = append(g.Endpoints, discoveryv1.Endpoint{
							Addresses:  []string{fmt.Sprintf("%d.%d.%d", f, p, first+i)},
							Conditions: discoveryv1.EndpointConditions{Ready: ptr.To((first+i)%7 != rapid.IntRange(0, 6).Draw(t, "unready"))},
						})
					}
					groups = append(groups, g)
				}
			}
			c := Pack(like, families, groups, have)
			have = apply(t, have, c, &made)
			check(t, families, groups, have)
			if again := Pack(like, families, groups, have); len(again.Create)+len(again.Update)+len(again.Delete) > 0 {
				t.Fatalf("packed again, it changes %d/%d/%d slices", len(again.Create), len(again.Update), len(again.Delete))
			}
		}
	})
}

// One pod more or less writes one slice.
func TestPackWritesLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		families := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4}
		like := &discoveryv1.EndpointSlice{}
		g := Group{Family: families[0]}
		for i := range rapid.IntRange(1, 500).Draw(t, "endpoints") {
			g.Endpoints = append(g.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprint(i)}})
		}
		made := 0
		have := apply(t, nil, Pack(like, families, []Group{g}, nil), &made)
		if rapid.Bool().Draw(t, "more") {
			g.Endpoints = append(g.Endpoints, discoveryv1.Endpoint{Addresses: []string{"new"}})
		} else {
			i := rapid.IntRange(0, len(g.Endpoints)-1).Draw(t, "less")
			g.Endpoints = slices.Delete(slices.Clone(g.Endpoints), i, i+1)
		}
		groups := []Group{g}
		if len(g.Endpoints) == 0 {
			groups = nil
		}
		c := Pack(like, families, groups, have)
		if n := len(c.Create) + len(c.Update) + len(c.Delete); n != 1 {
			t.Fatalf("%d writes", n)
		}
	})
}

func apply(t *rapid.T, have []*discoveryv1.EndpointSlice, c Changes, made *int) []*discoveryv1.EndpointSlice {
	by := map[types.UID]*discoveryv1.EndpointSlice{}
	for _, s := range have {
		by[s.UID] = s
	}
	for _, s := range c.Update {
		if by[s.UID] == nil || by[s.UID].AddressType != s.AddressType {
			t.Fatalf("update of %q, which is not there or of another family", s.UID)
		}
		by[s.UID] = s
	}
	for _, s := range c.Delete {
		delete(by, s.UID)
	}
	for _, s := range c.Create {
		*made++
		s.UID = types.UID(fmt.Sprint(*made))
		by[s.UID] = s
	}
	out := make([]*discoveryv1.EndpointSlice, 0, len(by))
	for _, s := range by {
		out = append(out, s)
	}
	return out
}

func check(t *rapid.T, families []discoveryv1.AddressType, groups []Group, have []*discoveryv1.EndpointSlice) {
	want := map[string]bool{}
	for _, g := range groups {
		for _, e := range g.Endpoints {
			want[fmt.Sprint(key(g.Family, g.Ports), e.Addresses, *e.Conditions.Ready)] = true
		}
	}
	seen := map[discoveryv1.AddressType]bool{}
	for _, s := range have {
		seen[s.AddressType] = true
		if len(s.Endpoints) > Most {
			t.Fatalf("%d endpoints in a slice", len(s.Endpoints))
		}
		if s.Labels["a"] != "b" {
			t.Fatalf("slice without its labels")
		}
		for _, e := range s.Endpoints {
			id := fmt.Sprint(key(s.AddressType, s.Ports), e.Addresses, *e.Conditions.Ready)
			if !want[id] {
				t.Fatalf("%s is not wanted, or twice there", id)
			}
			delete(want, id)
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d endpoints are missing", len(want))
	}
	for _, f := range families {
		if !seen[f] {
			t.Fatalf("no slice of %s", f)
		}
	}
}
