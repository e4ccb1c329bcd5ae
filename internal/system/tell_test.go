package system

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
)

func TestTell(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tell := &Teller{w}
	tell.Step("one")
	tell.Fail(errors.New("bad\nluck"))
	tell.Ready()
	tell.Step("nobody hears this") // and it does no harm
	var got []message
	for s := bufio.NewScanner(r); s.Scan(); {
		var m message
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if want := []message{{Step: "one"}, {Error: "bad\nluck"}, {Ready: true}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestTellNobody(t *testing.T) {
	var none *Teller
	none.Step("s")
	none.Fail(errors.New("e"))
	none.Ready()

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close() // who listened has gone
	gone := &Teller{w}
	gone.Step("s")
	gone.Ready()
}
