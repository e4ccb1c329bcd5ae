package cache_test

import (
	"fmt"
	"sync"
	"testing"

	"clipper/internal/apiserver/cache"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// counted returns entries, an encoder that makes a MiB of each, and how often
// it was asked to.
func counted(n int, kept *cache.Encodings) ([]*cache.Entry, *cache.Encoder, *int) {
	made := 0
	by := &cache.Encoder{Kept: kept, Encode: func(runtime.Object) ([]byte, error) {
		made++
		return make([]byte, 1<<20), nil
	}}
	entries := make([]*cache.Entry, n)
	for i := range entries {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}
		entries[i] = cache.NewEntry(o.Name, o, int64(i))
	}
	return entries, by, &made
}

func TestEncodingsAreKeptWhileUsed(t *testing.T) {
	var kept cache.Encodings
	entries, by, made := counted(100, &kept)
	often, seldom := entries[0], entries[1]
	want := 0
	get := func(e *cache.Entry, makes int) {
		t.Helper()
		if b, err := e.Bytes(by); err != nil || len(b) != 1<<20 {
			t.Fatal(len(b), err)
		}
		if want += makes; *made != want {
			t.Fatalf("made %d times, not %d", *made, want)
		}
	}
	get(often, 1)
	get(seldom, 1)
	for _, e := range entries[2:] {
		get(e, 1)
		get(often, 0)
	}
	get(seldom, 1)
	kept.Drop()
	get(often, 1)
	get(seldom, 1)
	get(often, 0)
}

func TestEncodingsAreBounded(t *testing.T) {
	var kept cache.Encodings
	entries, by, made := counted(200, &kept)
	for _, e := range entries {
		if _, err := e.Bytes(by); err != nil {
			t.Fatal(err)
		}
	}
	*made = 0
	// From the newest on, so that what is made anew drops nothing before it is
	// looked at.
	held := 0
	for i := len(entries) - 1; i >= 0 && *made == 0; i-- {
		if _, err := entries[i].Bytes(by); err != nil {
			t.Fatal(err)
		}
		held++
	}
	if held < 8 || held > 20 {
		t.Errorf("%d MiB are kept", held-1)
	}
}

func TestEncodingsByManyAtOnce(t *testing.T) {
	var kept cache.Encodings
	by := &cache.Encoder{Kept: &kept, Encode: func(o runtime.Object) ([]byte, error) {
		return append(make([]byte, 256<<10), o.(*corev1.ConfigMap).Name...), nil
	}}
	entries, _, _ := counted(200, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j, e := range entries {
				get := e.Bytes
				if (i+j)%2 == 0 {
					get = e.News
				}
				b, err := get(by)
				if err != nil || string(b[256<<10:]) != e.Key {
					t.Errorf("%s: %v", e.Key, err)
				}
			}
			kept.Drop()
		})
	}
	all.Wait()
}

// What is told is kept for a short while, and for longer once it is read.
func TestNewsAreKeptForAWhile(t *testing.T) {
	var kept cache.Encodings
	entries, by, made := counted(20, &kept)
	want := 0
	check := func(b []byte, err error, makes int) {
		t.Helper()
		if err != nil || len(b) != 1<<20 {
			t.Fatal(len(b), err)
		}
		if want += makes; *made != want {
			t.Fatalf("made %d times, not %d", *made, want)
		}
	}
	tell := func(i, makes int) {
		t.Helper()
		b, err := entries[i].News(by)
		check(b, err, makes)
	}
	read := func(i, makes int) {
		t.Helper()
		b, err := entries[i].Bytes(by)
		check(b, err, makes)
	}
	for i := range 4 {
		tell(i, 1)
	}
	for i := range 4 {
		tell(i, 0)
	}
	read(0, 0)
	tell(4, 1)
	tell(5, 1)
	read(0, 0)
	tell(1, 1) // it was dropped, and takes the place of another
	tell(4, 0)
	tell(5, 0)
	tell(2, 1)
	// A lot that is told takes nothing from what is read.
	for i := 6; i < 20; i++ {
		tell(i, 1)
	}
	read(0, 0)
	tell(0, 0)
	kept.Drop()
	read(0, 1)
	tell(19, 1)
}
