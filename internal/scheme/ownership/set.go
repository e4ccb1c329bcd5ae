package ownership

import (
	"errors"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// set is a set of fields: a tree by the elements of their paths, as FieldsV1
// writes them ("f:spec", `k:{"name":"web"}`, `v:"finalizer"`). The zero value
// is empty.
type set struct {
	element string
	member  bool  // the field itself is in the set
	below   []set // by element
}

func (s *set) empty() bool { return !s.member && len(s.below) == 0 }

// count returns how many fields are in the set.
func (s *set) count() (n int) {
	if s.member {
		n = 1
	}
	for i := range s.below {
		n += s.below[i].count()
	}
	return n
}

// find returns where the element is below s, or would be.
func (s *set) find(element string) (int, bool) {
	n := len(s.below)
	if n == 0 || before(s.below[n-1].element, element) {
		return n, false // what is added mostly comes in order
	}
	i := sort.Search(n, func(i int) bool { return !before(s.below[i].element, element) })
	return i, s.below[i].element == element
}

// get returns the tree below an element, or nil.
func (s *set) get(element string) *set {
	if s == nil {
		return nil
	}
	if i, ok := s.find(element); ok {
		return &s.below[i]
	}
	return nil
}

// at returns the tree below an element, which is made if it is not there.
func (s *set) at(element string) *set {
	n := len(s.below)
	if n > 0 && s.below[n-1].element == element {
		return &s.below[n-1]
	}
	i, ok := s.find(element)
	if ok {
		return &s.below[i]
	}
	if n < cap(s.below) {
		s.below = s.below[:n+1] // what is there was used before
	} else {
		s.below = append(s.below, set{})
	}
	fresh := s.below[n]
	copy(s.below[i+1:], s.below[i:n])
	fresh.element = element
	fresh.clear()
	s.below[i] = fresh
	return &s.below[i]
}

// clear empties the set, and keeps its memory for the next.
func (s *set) clear() { s.member, s.below = false, s.below[:0] }

// add adds the field at the path.
func (s *set) add(path []string) {
	for _, e := range path {
		s = s.at(e)
	}
	s.member = true
}

// union adds all fields of other.
func (s *set) union(other *set) {
	s.member = s.member || other.member
	for i := range other.below {
		o := &other.below[i]
		s.at(o.element).union(o)
	}
}

// subtract takes out the fields of other, though not those below them.
func (s *set) subtract(other *set) {
	s.member = s.member && !other.member
	kept := s.below[:0]
	for i := range s.below {
		b := s.below[i]
		if o := other.get(b.element); o != nil {
			b.subtract(o)
		}
		if !b.empty() {
			kept = append(kept, b)
		}
	}
	clear(s.below[len(kept):]) // no two share memory
	s.below = kept
}

// before orders the elements of a path as FieldsV1 has them: by text, but
// numbers among the keys of lists by what they are worth.
func before(a, b string) bool {
	if len(a) == 0 || a[0] == 'f' || len(b) == 0 || b[0] == 'f' {
		return a < b
	}
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i < n && (a[i] == '}') != (b[i] == '}') {
		return a[i] == '}' // fewer keys
	}
	start := i
	for start > 0 && isDigit(a[start-1]) {
		start--
	}
	if start > 0 && a[start-1] == '-' {
		start--
	}
	if start == 0 || a[start-1] != ':' {
		return a < b // within a text
	}
	x, y := number(a[start:]), number(b[start:])
	if x == y {
		return a < b
	}
	return x < y
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func number(s string) int64 {
	end := 0
	for end < len(s) && (isDigit(s[end]) || end == 0 && s[end] == '-') {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// appendJSON writes the set as FieldsV1.
func (s *set) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if s.member && len(s.below) > 0 {
		b = append(b, `".":{}`...)
	}
	for i := range s.below {
		if i > 0 || s.member {
			b = append(b, ',')
		}
		b = appendText(b, s.below[i].element)
		b = append(b, ':')
		b = s.below[i].appendJSON(b)
	}
	return append(b, '}')
}

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		default:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

var errFields = errors.New("fieldsV1 is no set of fields")

// maxDepth bounds how deep sets that clients send may be.
const maxDepth = 200

// parse reads a set that a server wrote; s is empty if there is an error.
func (s *set) parse(raw []byte) error {
	s.clear()
	r := scanner{b: raw}
	err := r.read(s, 0)
	if r.skip(); err == nil && r.at != len(raw) {
		err = errFields
	}
	if s.member = false; err != nil { // the whole object is no field
		s.clear()
	}
	return err
}

// common returns how many fields of s are also in the set that raw is.
func (s *set) common(raw []byte) (int, error) {
	r := scanner{b: raw}
	return r.common(s, true)
}

// scanner reads FieldsV1, which is an object of objects.
type scanner struct {
	b  []byte
	at int
}

func (r *scanner) skip() {
	for r.at < len(r.b) {
		switch r.b[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

func (r *scanner) take(c byte) bool {
	if r.at < len(r.b) && r.b[r.at] == c {
		r.at++
		return true
	}
	r.skip()
	if r.at < len(r.b) && r.b[r.at] == c {
		r.at++
		return true
	}
	return false
}

// name reads the next name of an object and the colon; ok is false at its end.
// plain tells that the name is written as it is.
func (r *scanner) name(first bool) (name []byte, plain, ok bool, err error) {
	if r.take('}') {
		return nil, false, false, nil
	}
	if !first && !r.take(',') || !r.take('"') {
		return nil, false, false, errFields
	}
	start := r.at
	for plain = true; r.at < len(r.b) && r.b[r.at] != '"'; r.at++ {
		if r.b[r.at] == '\\' {
			plain = false
			r.at++
		}
	}
	if r.at >= len(r.b) {
		return nil, false, false, errFields
	}
	name = r.b[start:r.at]
	r.at++
	if !r.take(':') {
		return nil, false, false, errFields
	}
	return name, plain, true, nil
}

// pass skips a value.
func (r *scanner) pass() error {
	if !r.take('{') {
		return errFields
	}
	for depth := 1; depth > 0; r.at++ {
		if r.at >= len(r.b) {
			return errFields
		}
		switch r.b[r.at] {
		case '{':
			depth++
		case '}':
			depth--
		case '"':
			for r.at++; r.at < len(r.b) && r.b[r.at] != '"'; r.at++ {
				if r.b[r.at] == '\\' {
					r.at++
				}
			}
		}
	}
	return nil
}

// read fills s with the object that comes next; an empty one makes it a member.
func (r *scanner) read(s *set, depth int) error {
	if depth > maxDepth || !r.take('{') {
		return errFields
	}
	for first := true; ; first = false {
		name, plain, ok, err := r.name(first)
		if err != nil {
			return err
		}
		if !ok {
			s.member = s.member || first
			return nil
		}
		if string(name) == "." {
			s.member = true
			if err := r.pass(); err != nil {
				return err
			}
			continue
		}
		element := string(name)
		if !plain {
			if element, err = unquote(name); err != nil {
				return err
			}
		}
		if err := r.read(s.at(element), depth+1); err != nil {
			return err
		}
	}
}

func (r *scanner) common(s *set, root bool) (n int, err error) {
	if !r.take('{') {
		return 0, errFields
	}
	for first := true; ; first = false {
		name, plain, ok, err := r.name(first)
		if err != nil {
			return 0, err
		}
		if !ok {
			if first && s.member && !root {
				n++
			}
			return n, nil
		}
		b := s.named(name, plain)
		switch {
		case string(name) == ".":
			if s.member {
				n++
			}
			fallthrough
		case b == nil:
			if err := r.pass(); err != nil {
				return 0, err
			}
		default:
			m, err := r.common(b, false)
			if err != nil {
				return 0, err
			}
			n += m
		}
	}
}

// named returns the tree below an element as it is written in JSON, or nil.
func (s *set) named(name []byte, plain bool) *set {
	for i := range s.below {
		if e := s.below[i].element; plain && e == string(name) || !plain && sameText(e, name) {
			return &s.below[i]
		}
	}
	return nil
}

// sameText tells whether a JSON string, without its quotes, is the text.
func sameText(text string, quoted []byte) bool {
	i := 0
	for j := 0; j < len(quoted); j, i = j+1, i+1 {
		c := quoted[j]
		if c == '\\' {
			if j++; j >= len(quoted) {
				return false
			}
			if c = quoted[j]; c != '"' && c != '\\' && c != '/' {
				whole, err := unquote(quoted)
				return err == nil && whole == text
			}
		}
		if i >= len(text) || text[i] != c {
			return false
		}
	}
	return i == len(text)
}

func unquote(quoted []byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		c := quoted[i]
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		if i++; i >= len(quoted) {
			return "", errFields
		}
		switch quoted[i] {
		case '"', '\\', '/':
			b.WriteByte(quoted[i])
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			if i+4 >= len(quoted) {
				return "", errFields
			}
			n, err := strconv.ParseUint(string(quoted[i+1:i+5]), 16, 16)
			if err != nil {
				return "", errFields
			}
			i += 4
			b.Write(utf8.AppendRune(nil, rune(n)))
		default:
			return "", errFields
		}
	}
	return b.String(), nil
}
