package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ensure makes all layers of a chain present. Each is unpacked by one caller,
// however many want it; several layers are unpacked side by side.
func (s *Store) ensure(ctx context.Context, chains, diffIDs []string, src source) error {
	g, ctx := errgroup.WithContext(ctx)
	below := make(chan struct{}) // closed when the layer below is there
	close(below)
	for i, chain := range chains {
		lower, here := below, make(chan struct{})
		below = here
		g.Go(func() (err error) {
			defer func() {
				if err == nil {
					close(here)
				}
			}()
			for {
				s.mu.Lock()
				if s.layers[chain] != nil {
					s.mu.Unlock()
					return nil
				}
				f, theirs := s.flights[chain]
				if !theirs {
					f = &flight{done: make(chan struct{})}
					s.flights[chain] = f
				}
				s.mu.Unlock()
				if theirs {
					select {
					case <-f.done:
						if f.err == nil {
							return nil
						}
						continue // theirs failed, perhaps by their context; ours may do
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				f.err = s.bring(ctx, chains[:i+1], diffIDs[i], lower, src.retries, func(ctx context.Context) (io.ReadCloser, error) { return src.open(ctx, i) })
				s.mu.Lock()
				delete(s.flights, chain)
				s.mu.Unlock()
				close(f.done)
				return f.err
			}
		})
	}
	return g.Wait()
}

// bring unpacks the last layer of a chain and adds it. Only what it takes from
// the layers below waits for them.
func (s *Store) bring(ctx context.Context, chains []string, diffID string, below <-chan struct{}, retries int, open func(context.Context) (io.ReadCloser, error)) (err error) {
	select {
	case s.unpack <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	s.next++
	number := s.next
	s.mu.Unlock()
	tmp := s.path("layers", "new-"+strconv.Itoa(number))
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	u, err := s.unpackInto(ctx, tmp, open)
	for ; err != nil && retries > 0 && ctx.Err() == nil; retries-- {
		if err = os.RemoveAll(tmp); err == nil {
			u, err = s.unpackInto(ctx, tmp, open)
		}
	}
	<-s.unpack
	if err != nil {
		return fmt.Errorf("layer %s: %w", diffID, err)
	}
	if u.diffID != diffID {
		return fmt.Errorf("layer %s: its content is %s", diffID, u.diffID)
	}
	if len(chains) > 1 && len(u.implicit) > 0 {
		select {
		case <-below:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.adopt(tmp, u.implicit, chains[:len(chains)-1]); err != nil {
			return fmt.Errorf("layer %s: %w", diffID, err)
		}
	}
	if err := os.Rename(tmp, s.layerDir(number)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layers[chains[len(chains)-1]] = &layer{DiffID: diffID, Number: number, Bytes: u.bytes, Inodes: u.inodes}
	return nil
}

func (s *Store) unpackInto(ctx context.Context, dir string, open func(context.Context) (io.ReadCloser, error)) (*unpacked, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	content, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	stop := context.AfterFunc(ctx, func() { content.Close() })
	defer stop()
	u, err := unpack(ctx, content, dir)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return u, err
}

// adopt gives directories that a layer does not describe the owner and mode
// they have below.
func (s *Store) adopt(dir string, names, below []string) error {
	top, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	for _, name := range names {
		for _, chain := range slices.Backward(below) {
			s.mu.Lock()
			l := s.layers[chain]
			s.mu.Unlock()
			if l == nil {
				return errors.New("the layer below is gone")
			}
			found, err := copyAttributes(top, s.layerDir(l.Number), name)
			if err != nil {
				return err
			}
			if found {
				break
			}
		}
	}
	return nil
}

func copyAttributes(to int, from, name string) (found bool, err error) {
	root, err := unix.Open(from, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(root)
	src, err := openBelow(root, name, unix.O_PATH)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return true, nil // it is a whiteout or a file; ours is a new directory
	}
	dst, err := openBelow(to, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer unix.Close(dst)
	if err := unix.Fchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return false, err
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return false, err
	}
	return true, nil
}

// RegistryError says why an image could not be had.
type RegistryError struct {
	Ref string
	Err error
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("failed to pull and unpack image %q: %s", e.Ref, strings.TrimSpace(e.Err.Error()))
}

func (e *RegistryError) Unwrap() error { return e.Err }
