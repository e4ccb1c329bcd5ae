package cri

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	utilexec "k8s.io/utils/exec"
)

// ServeCRI serves this runtime's CRI on a listener, for tools like crictl,
// until ctx ends. The URLs it gives for streams are on the loopback of the
// node's network.
func (r *Runtime) ServeCRI(ctx context.Context, listener net.Listener) error {
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: r.StreamingHandler(), ReadHeaderTimeout: 10 * time.Second}
	go web.Serve(streams)
	defer web.Close()
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(16<<20))
	remote := remoteRuntime{r: r, streams: streams.Addr().String()}
	runtimeapi.RegisterRuntimeServiceServer(srv, remote)
	runtimeapi.RegisterImageServiceServer(srv, remoteImages{r: r})
	stop := context.AfterFunc(ctx, srv.Stop)
	defer stop()
	err = srv.Serve(listener)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// remoteRuntime is the runtime to callers of another process.
type remoteRuntime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	r       *Runtime
	streams string // where the URLs for streams lead
}

// remoteImages is the images to callers of another process.
type remoteImages struct {
	runtimeapi.UnimplementedImageServiceServer
	r *Runtime
}

// empty answers a call that tells nothing but that it is done.
func empty[T any](err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return new(T), nil
}

func (s remoteRuntime) Version(ctx context.Context, q *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return s.r.Version(ctx, q.Version)
}

func (s remoteRuntime) RunPodSandbox(ctx context.Context, q *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	id, err := s.r.RunPodSandbox(ctx, q.Config, q.RuntimeHandler)
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: id}, err
}

func (s remoteRuntime) StopPodSandbox(ctx context.Context, q *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return empty[runtimeapi.StopPodSandboxResponse](s.r.StopPodSandbox(ctx, q.PodSandboxId))
}

func (s remoteRuntime) RemovePodSandbox(ctx context.Context, q *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return empty[runtimeapi.RemovePodSandboxResponse](s.r.RemovePodSandbox(ctx, q.PodSandboxId))
}

func (s remoteRuntime) PodSandboxStatus(ctx context.Context, q *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return s.r.PodSandboxStatus(ctx, q.PodSandboxId, q.Verbose)
}

func (s remoteRuntime) ListPodSandbox(ctx context.Context, q *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	items, err := s.r.ListPodSandbox(ctx, q.Filter)
	return &runtimeapi.ListPodSandboxResponse{Items: items}, err
}

func (s remoteRuntime) CreateContainer(ctx context.Context, q *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	id, err := s.r.CreateContainer(ctx, q.PodSandboxId, q.Config, q.SandboxConfig)
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, err
}

func (s remoteRuntime) StartContainer(ctx context.Context, q *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return empty[runtimeapi.StartContainerResponse](s.r.StartContainer(ctx, q.ContainerId))
}

func (s remoteRuntime) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return empty[runtimeapi.StopContainerResponse](s.r.StopContainer(ctx, q.ContainerId, q.Timeout))
}

func (s remoteRuntime) RemoveContainer(ctx context.Context, q *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return empty[runtimeapi.RemoveContainerResponse](s.r.RemoveContainer(ctx, q.ContainerId))
}

func (s remoteRuntime) ListContainers(ctx context.Context, q *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	list, err := s.r.ListContainers(ctx, q.Filter)
	return &runtimeapi.ListContainersResponse{Containers: list}, err
}

func (s remoteRuntime) ContainerStatus(ctx context.Context, q *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return s.r.ContainerStatus(ctx, q.ContainerId, q.Verbose)
}

func (s remoteRuntime) UpdateContainerResources(ctx context.Context, q *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return empty[runtimeapi.UpdateContainerResourcesResponse](s.r.UpdateContainerResources(ctx, q.ContainerId, &runtimeapi.ContainerResources{Linux: q.Linux}))
}

func (s remoteRuntime) ReopenContainerLog(ctx context.Context, q *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return empty[runtimeapi.ReopenContainerLogResponse](s.r.ReopenContainerLog(ctx, q.ContainerId))
}

func (s remoteRuntime) ExecSync(ctx context.Context, q *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	stdout, stderr, err := s.r.ExecSync(ctx, q.ContainerId, q.Cmd, time.Duration(q.Timeout)*time.Second)
	resp := &runtimeapi.ExecSyncResponse{Stdout: stdout, Stderr: stderr}
	var exit utilexec.ExitError
	if errors.As(err, &exit) {
		resp.ExitCode, err = int32(exit.ExitStatus()), nil
	}
	return resp, err
}

// at leads a URL for streams to where they are served.
func (s remoteRuntime) at(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = s.streams
	return u.String()
}

func (s remoteRuntime) Exec(ctx context.Context, q *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	resp, err := s.r.Exec(ctx, q)
	return &runtimeapi.ExecResponse{Url: s.at(resp.GetUrl())}, err
}

func (s remoteRuntime) Attach(ctx context.Context, q *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	resp, err := s.r.Attach(ctx, q)
	return &runtimeapi.AttachResponse{Url: s.at(resp.GetUrl())}, err
}

func (s remoteRuntime) PortForward(ctx context.Context, q *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	resp, err := s.r.PortForward(ctx, q)
	return &runtimeapi.PortForwardResponse{Url: s.at(resp.GetUrl())}, err
}

func (s remoteRuntime) ContainerStats(ctx context.Context, q *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	stats, err := s.r.ContainerStats(ctx, q.ContainerId)
	return &runtimeapi.ContainerStatsResponse{Stats: stats}, err
}

func (s remoteRuntime) ListContainerStats(ctx context.Context, q *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	stats, err := s.r.ListContainerStats(ctx, q.Filter)
	return &runtimeapi.ListContainerStatsResponse{Stats: stats}, err
}

func (s remoteRuntime) PodSandboxStats(ctx context.Context, q *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	stats, err := s.r.PodSandboxStats(ctx, q.PodSandboxId)
	return &runtimeapi.PodSandboxStatsResponse{Stats: stats}, err
}

func (s remoteRuntime) ListPodSandboxStats(ctx context.Context, q *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	stats, err := s.r.ListPodSandboxStats(ctx, q.Filter)
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: stats}, err
}

func (s remoteRuntime) UpdateRuntimeConfig(ctx context.Context, q *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return empty[runtimeapi.UpdateRuntimeConfigResponse](s.r.UpdateRuntimeConfig(ctx, q.RuntimeConfig))
}

func (s remoteRuntime) Status(ctx context.Context, q *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return s.r.Status(ctx, q.Verbose)
}

func (s remoteRuntime) RuntimeConfig(ctx context.Context, _ *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return s.r.RuntimeConfig(ctx)
}

func (s remoteRuntime) UpdatePodSandboxResources(ctx context.Context, q *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return s.r.UpdatePodSandboxResources(ctx, q)
}

func (s remoteRuntime) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	events := make(chan *runtimeapi.ContainerEventResponse)
	done := make(chan error, 1)
	go func() {
		done <- s.r.GetContainerEvents(ctx, events, func(runtimeapi.RuntimeService_GetContainerEventsClient) {
			// From here on nothing is missed, and the other side may know.
			stream.SendHeader(nil)
		})
	}()
	for {
		select {
		case ev := <-events:
			if err := stream.Send(ev); err != nil {
				return err
			}
		case err := <-done:
			return err
		}
	}
}

func (s remoteImages) ListImages(ctx context.Context, q *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	images, err := s.r.ListImages(ctx, q.Filter)
	return &runtimeapi.ListImagesResponse{Images: images}, err
}

func (s remoteImages) ImageStatus(ctx context.Context, q *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return s.r.ImageStatus(ctx, q.Image, q.Verbose)
}

func (s remoteImages) PullImage(ctx context.Context, q *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	ref, err := s.r.PullImage(ctx, q.Image, q.Auth, q.SandboxConfig)
	return &runtimeapi.PullImageResponse{ImageRef: ref}, err
}

func (s remoteImages) RemoveImage(ctx context.Context, q *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	if strings.TrimSpace(q.GetImage().GetImage()) == "" {
		return nil, status.Error(codes.InvalidArgument, "image name is empty")
	}
	return empty[runtimeapi.RemoveImageResponse](s.r.RemoveImage(ctx, q.Image))
}

func (s remoteImages) ImageFsInfo(ctx context.Context, _ *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return s.r.ImageFsInfo(ctx)
}
