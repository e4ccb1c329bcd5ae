package cri

import (
	"context"
	"errors"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
)

func criImage(img *image.Image) *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id:          img.ID,
		RepoTags:    img.Tags,
		RepoDigests: img.Digests,
		Size:        uint64(img.Size),
		Spec:        &runtimeapi.ImageSpec{Image: img.ID},
		Pinned:      img.Pinned,
	}
	name, _, _ := strings.Cut(img.Spec.User, ":")
	if uid, err := strconv.ParseInt(name, 10, 64); err == nil {
		out.Uid = &runtimeapi.Int64Value{Value: uid}
	} else {
		out.Username = name
	}
	return out
}

// ListImages returns all images, or the one that the filter names.
func (r *Runtime) ListImages(_ context.Context, filter *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	if name := filter.GetImage().GetImage(); name != "" {
		img, err := r.images.Get(name)
		if errors.Is(err, image.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*runtimeapi.Image{criImage(img)}, nil
	}
	all := r.images.List()
	list := make([]*runtimeapi.Image, len(all))
	for i, img := range all {
		list[i] = criImage(img)
	}
	return list, nil
}

// ImageStatus returns the image, or an answer without one.
func (r *Runtime) ImageStatus(_ context.Context, spec *runtimeapi.ImageSpec, _ bool) (*runtimeapi.ImageStatusResponse, error) {
	img, err := r.images.Get(spec.GetImage())
	if errors.Is(err, image.ErrNotFound) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ImageStatusResponse{Image: criImage(img)}, nil
}

// PullImage fetches an image from its registry and returns its ID.
func (r *Runtime) PullImage(ctx context.Context, spec *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	img, err := r.images.Pull(ctx, spec.GetImage(), image.Auth{
		Username:      auth.GetUsername(),
		Password:      auth.GetPassword(),
		Auth:          auth.GetAuth(),
		IdentityToken: auth.GetIdentityToken(),
		RegistryToken: auth.GetRegistryToken(),
	})
	if err != nil {
		return "", err
	}
	return img.ID, nil
}

// RemoveImage removes an image by any of its names or its ID.
func (r *Runtime) RemoveImage(_ context.Context, spec *runtimeapi.ImageSpec) error {
	return r.images.Remove(spec.GetImage())
}

// ImageFsInfo returns what images and writable layers take.
func (r *Runtime) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	bytes, inodes := r.images.Usage()
	usage := func(dir string, bytes, inodes int64) []*runtimeapi.FilesystemUsage {
		return []*runtimeapi.FilesystemUsage{{
			Timestamp:  r.clock.Now().UnixNano(),
			FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: dir},
			UsedBytes:  &runtimeapi.UInt64Value{Value: uint64(bytes)},
			InodesUsed: &runtimeapi.UInt64Value{Value: uint64(inodes)},
		}}
	}
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems:     usage(r.images.Dir(), bytes, inodes),
		ContainerFilesystems: usage(r.statePath("containers"), 0, 0),
	}, nil
}
