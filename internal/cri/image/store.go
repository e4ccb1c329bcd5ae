// Package image keeps a node's images: their configurations, their names, and
// their layers unpacked once each, ready to be stacked by overlayfs.
//
// Invariants. A layer appears under its number only when it is whole, and its
// content is what its digest says. The list of images is replaced as a whole, so
// it is never half written; what a crash leaves between is removed at the next
// opening. Nothing waits for the disk: layers are synced in the background, and
// those that were not yet when the machine went down are dropped and fetched
// again.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
)

// ErrNotFound is returned for an image that is not here.
var ErrNotFound = errors.New("image not found")

// Config is what a store needs.
type Config struct {
	// Dir holds everything. It must be on a filesystem that overlayfs can use.
	Dir        string
	Registries Registries
	Logger     *slog.Logger
	Clock      clock.PassiveClock
}

// Image is one image. It is never changed once it is in the store.
type Image struct {
	// ID is the digest of the image's configuration.
	ID string `json:"id"`
	// Tags are names like docker.io/library/nginx:1.27, Digests are like
	// docker.io/library/nginx@sha256:..., both in order.
	Tags    []string `json:"tags,omitempty"`
	Digests []string `json:"digests,omitempty"`
	// Layers are chain IDs, lowest first.
	Layers []string `json:"layers"`
	// Size is the sum of the layers' files, in bytes.
	Size   int64    `json:"size"`
	Arch   string   `json:"arch,omitempty"`
	Pinned bool     `json:"pinned,omitempty"`
	Spec   Settings `json:"spec"`
}

// Settings are the parts of an image's configuration that containers use.
type Settings struct {
	User         string              `json:"User,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

// configuration is the file whose digest is an image's ID.
type configuration struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	Config       Settings `json:"config"`
	RootFS       struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// layer is one unpacked layer.
type layer struct {
	DiffID string `json:"diffID"`
	// Number names the directory: overlayfs wants short paths.
	Number int   `json:"number"`
	Bytes  int64 `json:"bytes"`
	Inodes int64 `json:"inodes"`
	// Synced says that the content survives a loss of power.
	Synced bool `json:"synced,omitempty"`

	held int // containers that use it
}

// record is the file that lists everything.
type record struct {
	Boot   string            `json:"boot"`
	Next   int               `json:"next"`
	Images []*Image          `json:"images"`
	Layers map[string]*layer `json:"layers"` // by chain ID
}

// Store is a node's images.
type Store struct {
	cfg    Config
	lock   *os.File
	unpack chan struct{} // bounds layers unpacked at a time

	mu      sync.Mutex
	images  map[string]*Image // by ID
	layers  map[string]*layer // by chain ID
	next    int
	flights map[string]*flight // layers on their way, by chain ID
	coming  int                // images on their way: nothing is collected meanwhile
	collect bool               // a collection was put off for them
	syncing bool
	dirty   bool // something is to be synced
	syncs   sync.WaitGroup
}

// flight is a layer that somebody unpacks at the moment.
type flight struct {
	done chan struct{}
	err  error
}

// Open opens the store in a directory, which is made if it is missing, and
// removes what a crash left half done. Layers that no image uses stay until
// Collect, so that containers may hold theirs first.
func Open(cfg Config) (*Store, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	s := &Store{
		cfg:     cfg,
		unpack:  make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		images:  map[string]*Image{},
		layers:  map[string]*layer{},
		flights: map[string]*flight{},
	}
	if err := os.MkdirAll(s.path("layers"), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another process uses the images in %s: %w", cfg.Dir, err)
	}
	s.lock = lock
	if err := s.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// Close waits for background work and gives the directory free.
func (s *Store) Close() error {
	s.syncs.Wait()
	return s.lock.Close()
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elem...)...)
}

func (s *Store) layerDir(number int) string { return s.path("layers", strconv.Itoa(number)) }

func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

func (s *Store) load() error {
	rec := record{Layers: map[string]*layer{}}
	raw, err := os.ReadFile(s.path("images.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(raw, &rec); err != nil {
			// Images can be had again; a node that does not start cannot.
			s.cfg.Logger.Warn("the list of images is damaged; all images are dropped", "error", err)
			rec = record{Layers: map[string]*layer{}}
		}
	}
	known := map[string]bool{}
	rebooted := rec.Boot != bootID()
	for chain, l := range rec.Layers {
		if l == nil || rebooted && !l.Synced {
			delete(rec.Layers, chain)
			continue
		}
		known[strconv.Itoa(l.Number)] = true
	}
	s.layers, s.next = rec.Layers, rec.Next
	if s.layers == nil {
		s.layers = map[string]*layer{}
	}
	for _, img := range rec.Images {
		whole := img != nil && !slices.ContainsFunc(img.Layers, func(chain string) bool { return s.layers[chain] == nil })
		if whole {
			s.images[img.ID] = img
		}
	}
	entries, err := os.ReadDir(s.path("layers"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !known[e.Name()] {
			if err := os.RemoveAll(s.path("layers", e.Name())); err != nil {
				return fmt.Errorf("removing a half unpacked layer: %w", err)
			}
		}
	}
	return nil
}

// save replaces the list of images; the caller holds s.mu.
func (s *Store) save() error {
	rec := record{Boot: bootID(), Next: s.next, Layers: s.layers}
	for _, id := range slices.Sorted(maps.Keys(s.images)) {
		rec.Images = append(rec.Images, s.images[id])
	}
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("images.json.new"), raw, 0o600); err != nil {
		return err
	}
	return os.Rename(s.path("images.json.new"), s.path("images.json"))
}

// List returns all images, ordered by ID.
func (s *Store) List() []*Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Image, 0, len(s.images))
	for _, id := range slices.Sorted(maps.Keys(s.images)) {
		list = append(list, s.images[id])
	}
	return list
}

// Get returns the image of that name, or of that ID, with or without sha256:.
func (s *Store) Get(name string) (*Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	img, _, err := s.find(name)
	return img, err
}

// find also returns the full name under which the image was found, which is
// empty for an ID.
func (s *Store) find(name string) (*Image, string, error) {
	id := name
	if validHex(name) {
		id = "sha256:" + name
	}
	if img := s.images[id]; img != nil {
		return img, "", nil
	}
	ref, err := ParseRef(name)
	if err != nil {
		return nil, "", err
	}
	full := ref.String()
	for _, img := range s.images {
		if slices.Contains(img.Tags, full) || slices.Contains(img.Digests, full) {
			return img, full, nil
		}
	}
	return nil, "", fmt.Errorf("%w: %s", ErrNotFound, full)
}

// Remove forgets a name; without names left, or given an ID, it removes the
// image and the layers that nothing else uses. Removing what is not here is no
// error.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	img, full, err := s.find(name)
	if err != nil {
		s.mu.Unlock()
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	if full != "" && len(img.Tags)+len(img.Digests) > 1 && slices.Contains(img.Tags, full) && len(img.Tags) > 1 {
		left := *img
		left.Tags = slices.DeleteFunc(slices.Clone(img.Tags), func(t string) bool { return t == full })
		s.images[img.ID] = &left
		defer s.mu.Unlock()
		return s.save()
	}
	delete(s.images, img.ID)
	err = s.save()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Collect()
}

// Hold keeps an image's layers on the disk until release is called, whatever
// becomes of the image, and returns their directories, uppermost first, as
// overlayfs wants them.
func (s *Store) Hold(chains []string) (dirs []string, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make([]*layer, 0, len(chains))
	for _, chain := range slices.Backward(chains) {
		l := s.layers[chain]
		if l == nil {
			return nil, nil, fmt.Errorf("%w: a layer of it is gone", ErrNotFound)
		}
		held = append(held, l)
		dirs = append(dirs, s.layerDir(l.Number))
	}
	for _, l := range held {
		l.held++
	}
	var once sync.Once
	return dirs, func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, l := range held {
				l.held--
			}
		})
	}, nil
}

// Collect removes the layers that neither an image nor a container uses.
func (s *Store) Collect() error {
	s.mu.Lock()
	if s.coming > 0 {
		s.collect = true
		s.mu.Unlock()
		return nil
	}
	used := map[string]bool{}
	for _, img := range s.images {
		for _, chain := range img.Layers {
			used[chain] = true
		}
	}
	var gone []int
	for chain, l := range s.layers {
		if !used[chain] && l.held == 0 {
			gone = append(gone, l.Number)
			delete(s.layers, chain)
		}
	}
	var err error
	if len(gone) > 0 {
		err = s.save()
	}
	s.mu.Unlock()
	for _, number := range gone {
		err = errors.Join(err, os.RemoveAll(s.layerDir(number)))
	}
	return err
}

// Usage returns what the layers take: bytes of their files, and inodes.
func (s *Store) Usage() (bytes, inodes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.layers {
		bytes += l.Bytes
		inodes += l.Inodes
	}
	return bytes, inodes
}

// Dir is where the store is.
func (s *Store) Dir() string { return s.cfg.Dir }

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// chainIDs names each layer by all that is below it, as the OCI image
// specification defines it.
func chainIDs(diffIDs []string) []string {
	chains := make([]string, len(diffIDs))
	for i, id := range diffIDs {
		if i == 0 {
			chains[i] = id
		} else {
			chains[i] = digestOf([]byte(chains[i-1] + " " + id))
		}
	}
	return chains
}

// maxLayers is what overlayfs can stack, less some.
const maxLayers = 400

// source is where an image comes from.
type source struct {
	config []byte // the configuration file, as its digest covers it
	// open returns a layer's content, compressed or not, lowest being 0.
	open func(ctx context.Context, i int) (io.ReadCloser, error)
	// retries is how often a layer is opened again when reading it failed.
	retries int
	// names under which the image is to be known.
	tags, digests []string
}

// install unpacks the layers that are missing and adds the image.
func (s *Store) install(ctx context.Context, src source) (*Image, error) {
	s.mu.Lock()
	s.coming++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.coming--
		put := s.collect && s.coming == 0
		s.collect = s.collect && !put
		s.mu.Unlock()
		if put {
			if err := s.Collect(); err != nil {
				s.cfg.Logger.Warn("unused layers stay", "error", err)
			}
		}
	}()
	var cfg configuration
	if err := json.Unmarshal(src.config, &cfg); err != nil {
		return nil, fmt.Errorf("decoding the image's configuration: %w", err)
	}
	if cfg.OS != "" && cfg.OS != "linux" {
		return nil, fmt.Errorf("the image is for %s/%s, this node is linux/%s", cfg.OS, cfg.Architecture, runtime.GOARCH)
	}
	diffIDs := cfg.RootFS.DiffIDs
	if len(diffIDs) > maxLayers {
		return nil, fmt.Errorf("the image has %d layers, more than the %d that can be stacked", len(diffIDs), maxLayers)
	}
	for _, id := range diffIDs {
		if !validDigest(id) {
			return nil, fmt.Errorf("the image's configuration names a layer by %q, which is no sha256 digest", id)
		}
	}
	chains := chainIDs(diffIDs)
	if err := s.ensure(ctx, chains, diffIDs, src); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	img := &Image{ID: digestOf(src.config), Layers: chains, Arch: cfg.Architecture, Spec: cfg.Config}
	if old := s.images[img.ID]; old != nil {
		img.Tags, img.Digests, img.Pinned = slices.Clone(old.Tags), slices.Clone(old.Digests), old.Pinned
	}
	for _, chain := range chains {
		img.Size += s.layers[chain].Bytes
	}
	img.Size += int64(len(src.config))
	s.images[img.ID] = img
	for _, tag := range src.tags {
		s.retag(tag, img)
	}
	for _, digest := range src.digests {
		if !slices.Contains(img.Digests, digest) {
			img.Digests = append(img.Digests, digest)
		}
	}
	slices.Sort(img.Digests)
	s.dirty = true
	s.sync()
	return img, s.save()
}

// retag moves a tag to the image; whoever had it keeps the rest of its names.
func (s *Store) retag(tag string, to *Image) {
	for id, img := range s.images {
		if img != to && slices.Contains(img.Tags, tag) {
			left := *img
			left.Tags = slices.DeleteFunc(slices.Clone(img.Tags), func(t string) bool { return t == tag })
			s.images[id] = &left
		}
	}
	if !slices.Contains(to.Tags, tag) {
		to.Tags = append(to.Tags, tag)
		slices.Sort(to.Tags)
	}
}

// sync writes the layers to the disk in the background; the caller holds s.mu.
func (s *Store) sync() {
	if s.syncing {
		return
	}
	s.syncing = true
	s.syncs.Go(func() {
		for {
			s.mu.Lock()
			if !s.dirty {
				s.syncing = false
				s.mu.Unlock()
				return
			}
			s.dirty = false
			var written []*layer
			for _, l := range s.layers {
				if !l.Synced {
					written = append(written, l)
				}
			}
			s.mu.Unlock()
			if err := syncFilesystem(s.cfg.Dir); err != nil {
				s.cfg.Logger.Warn("images are not synced to the disk", "error", err)
				continue
			}
			s.mu.Lock()
			for _, l := range written {
				l.Synced = true
			}
			err := s.save()
			s.mu.Unlock()
			if err != nil {
				s.cfg.Logger.Warn("the list of images is not written", "error", err)
			}
		}
	})
}

func syncFilesystem(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Syncfs(fd)
}
