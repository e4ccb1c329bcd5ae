package http2

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"pgregory.net/rapid"
)

// text is what a stream's body says from one place to another.
func text(id uint32, from, to int) []byte {
	b := make([]byte, to-from)
	for i := range b {
		at := from + i
		b[i] = byte(int(id)*31 + at*7 + at>>8)
	}
	return b
}

// TestWindows has handlers write and flush by chance, to a client that lets
// them by chance: all of it arrives, in order, and never more than the windows
// allow.
func TestWindows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Every stream's plan: how much is written, 0 for a flush.
		size := rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 100), rapid.IntRange(1, 200_000), rapid.SampledFrom([]int{4086, 4087, 4088, 16375, 16376, 131000, 131072}))
		plans := rapid.SliceOfN(rapid.SliceOfN(size, 0, 5), 1, 5).Draw(rt, "plans")
		grants := rapid.SliceOfN(rapid.OneOf(rapid.Just(60_000), rapid.IntRange(700, 70_000)), 1, 10).Draw(rt, "grants")
		first := uint32(rapid.SampledFrom([]int{0, 1, 1000, 65535, 1 << 20}).Draw(rt, "first window"))
		change := rapid.Bool().Draw(rt, "change settings")

		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i, _ := strconv.Atoi(r.URL.RawQuery)
			id, at := uint32(2*i+1), 0
			for _, n := range plans[i] {
				if n == 0 {
					w.(http.Flusher).Flush()
				} else if _, err := w.Write(text(id, at, at+n)); err != nil {
					panic(err)
				}
				at += n
			}
		})
		p := dial(t, config(), h, http2.Setting{ID: http2.SettingInitialWindowSize, Val: first})
		defer p.net.Close()
		window := map[uint32]int{0: firstWindow}
		left, got := map[uint32]int{}, map[uint32]int{}
		for i, plan := range plans {
			id := uint32(2*i + 1)
			for _, n := range plan {
				left[id] += n
			}
			window[id] = int(first)
			p.say(fmt.Sprintf("get %d /?%d", id, i))
		}
		turn := 0
		grant := func(id uint32) {
			for window[id] <= 0 {
				n := grants[turn%len(grants)]
				turn++
				window[id] += n
				p.say(fmt.Sprintf("window %d %d", id, n))
			}
		}
		open := len(plans)
		for id := range left {
			grant(id)
		}
		for open > 0 {
			f, err := p.ReadFrame()
			if err != nil {
				rt.Fatalf("%v with %d streams under way", err, open)
			}
			id := f.Header().StreamID
			switch f := f.(type) {
			case *http2.MetaHeadersFrame:
				if f.StreamEnded() {
					open--
				}
			case *http2.DataFrame:
				d := f.Data()
				if want := text(id, got[id], got[id]+len(d)); !slices.Equal(d, want) {
					rt.Fatalf("what stream %d says at %d is not what was written", id, got[id])
				}
				got[id] += len(d)
				window[id] -= len(d)
				window[0] -= len(d)
				if window[0] < 0 || !change && window[id] < 0 {
					rt.Fatalf("stream %d sends more than its windows allow: %v", id, window)
				}
				if f.StreamEnded() {
					open--
					if got[id] != left[id] {
						rt.Fatalf("%d bytes of %d came", got[id], left[id])
					}
				}
				if change && turn%5 == 4 {
					by := grants[turn%len(grants)] - int(first)
					turn++
					p.say(fmt.Sprintf("settings 4=%d", int(first)+by))
					first += uint32(by)
					for id := range left {
						window[id] += by
						grant(id)
					}
				}
				grant(0)
				if !f.StreamEnded() {
					grant(id)
				}
			case *http2.RSTStreamFrame:
				rt.Fatal(tell(f))
			}
		}
	})
}

// TestLine of those that wait for the connection's window: each has its turn
// though those before it give up.
func TestLine(t *testing.T) {
	p := dial(t, config(), answers(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	p.play(`
		> get 1 /write?65535
		< headers 1 200 content-length=65535
		< data 1 *16375
		< data 1 *16375
		< data 1 *16375
		< data 1 *16375
		< data 1 end ` + strings.Repeat("\x00", 35))
	for id := 3; id <= 9; id += 2 {
		p.play(fmt.Sprintf("> get %d /write?1\n< headers %d 200 content-length=1", id, id))
	}
	p.play(`
		> rst 3 8
		> window 0 1
		< data 5 end` + " \x00" + `
		> settings 4=0
		< ack
		> window 0 1
		> ping
		< pong
		> window 9 5
		< data 9 end` + " \x00" + `
		> settings 4=1
		< ack
		> window 0 1
		< data 7 end` + " \x00")
}

// TestCreditComesBack of bytes that were taken for a stream and never sent, of
// bodies nobody reads, and of frames of streams that are over.
func TestCreditComesBack(t *testing.T) {
	p := dial(t, config(), answers())
	id := 1
	for range 40 { // ten times what a connection may have unread
		p.say(fmt.Sprintf("post %d /wait", id))
		for range 16 {
			p.say(fmt.Sprintf("data %d *16000", id))
		}
		p.say(fmt.Sprintf("rst %d 8", id))
		id += 2
	}
	sum := 0
	p.say("ping")
	for line := p.hear(); line != "pong"; line = p.hear() {
		var of, by int
		if _, err := fmt.Sscanf(line, "window %d %d", &of, &by); err != nil {
			t.Fatal(line)
		}
		if of == 0 {
			sum += by
		}
	}
	if lost := 40*16*16000 - sum; lost >= readWindow/4 {
		t.Fatalf("%d bytes were not granted anew", lost)
	}
}
