package podspec

import (
	"fmt"
	"strings"
)

// maxArguments bounds a container's environment, and its command, in bytes:
// the most that the kernel starts a program with. Beyond it nothing could run,
// while a few lines that name each other could ask for any amount.
const maxArguments = 6 << 20

// room is how many bytes there may be yet.
type room int

func (r *room) take(n int) error {
	if *r -= room(n); *r < 0 {
		return fmt.Errorf("environment variables or arguments need more than %d bytes: no program is started with as much", maxArguments)
	}
	return nil
}

// expand replaces each $(NAME) that lookup knows; an unknown one stays as it
// is, and $$ stands for one $ (so $$(NAME) is the text $(NAME)). What is filled in
// takes of the room that is left.
func expand(in string, lookup func(string) (string, bool), left *room) (string, error) {
	i := strings.IndexByte(in, '$')
	if i < 0 {
		return in, nil
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
				if err := left.take(len(v)); err != nil {
					return "", err
				}
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
	return b.String(), nil
}
