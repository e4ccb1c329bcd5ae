package podspec

import "strings"

// expand replaces each $(NAME) that lookup knows; an unknown one stays as it
// is, and $$ stands for one $ (so $$(NAME) is the text $(NAME)).
func expand(in string, lookup func(string) (string, bool)) string {
	i := strings.IndexByte(in, '$')
	if i < 0 {
		return in
	}
	var b strings.Builder
	for ; i >= 0; i = strings.IndexByte(in, '$') {
		b.WriteString(in[:i])
		in = in[i:]
		switch {
		case strings.HasPrefix(in, "$$"):
			b.WriteByte('$')
			in = in[2:]
		case strings.HasPrefix(in, "$("):
			end := strings.IndexByte(in, ')')
			if end < 0 {
				b.WriteString("$(")
				in = in[2:]
				continue
			}
			if v, ok := lookup(in[2:end]); ok {
				b.WriteString(v)
			} else {
				b.WriteString(in[:end+1])
			}
			in = in[end+1:]
		default:
			b.WriteByte('$')
			in = in[1:]
		}
	}
	b.WriteString(in)
	return b.String()
}
