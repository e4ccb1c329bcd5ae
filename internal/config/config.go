// Package config is what a server or agent process is told: by flags, or by
// the file that a local cluster writes for each of its nodes.
package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// Standalone is the name of what `clipper server` and `clipper agent` run. No
// local cluster has it, since folders and cgroups are named by it.
const Standalone = "server"

// Config describes one process. A process with a Server part is a control
// plane, one with an Agent part a node; most are both.
type Config struct {
	// Cluster is the cluster's name, Node the node's.
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// StateDir outlives a reboot, RunDir need not.
	StateDir string `json:"stateDir"`
	RunDir   string `json:"runDir"`
	// CgroupParent is the cgroup, below each hierarchy's root, that holds all
	// of this node.
	CgroupParent string `json:"cgroupParent"`
	// Debug logs more.
	Debug bool `json:"debug,omitempty"`

	Server *Server `json:"server,omitempty"`
	Agent  *Agent  `json:"agent,omitempty"`
}

// Server is the control plane's part.
type Server struct {
	// Address is where nodes and pods reach the API, and Port on which port.
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	// ListenFD, if positive, is an inherited socket that also serves the API,
	// and LocalPort its port on 127.0.0.1.
	ListenFD  int    `json:"listenFD,omitempty"`
	LocalPort uint16 `json:"localPort,omitempty"`
	// Names that the serving certificate carries besides the usual ones.
	Names []string `json:"names,omitempty"`

	ServiceCIDR netip.Prefix `json:"serviceCIDR"`
	PodCIDR     netip.Prefix `json:"podCIDR"`
	// NodeBits is the length of each node's share of PodCIDR; 0 is 24.
	NodeBits int `json:"nodeBits,omitempty"`
	// JoinToken, as ID.SECRET, lets agents that start beside the server join;
	// it is good for an hour.
	JoinToken string `json:"joinToken,omitempty"`
	// MemoryStore keeps the state in memory only.
	MemoryStore bool `json:"memoryStore,omitempty"`

	// RequestLog is from which duration on requests are logged; zero logs slow
	// ones, below zero none.
	RequestLog time.Duration `json:"requestLog,omitempty"`
	// Tracing is the URL of an OpenTelemetry collector that hears of requests;
	// none if it is empty. TracingRate per million are told of that are not part
	// of a trace already.
	Tracing     string `json:"tracing,omitempty"`
	TracingRate int    `json:"tracingRate,omitempty"`
}

// Agent is the node's part.
type Agent struct {
	NodeIP netip.Addr `json:"nodeIP"`
	// Uplink lets pods out of the cluster, from behind the node's address.
	Uplink bool `json:"uplink"`
	// Resolvers answer names outside the cluster; none without an uplink.
	Resolvers []string `json:"resolvers,omitempty"`
	// Registries maps a registry's name to mirrors that are asked before it.
	Registries map[string][]string `json:"registries,omitempty"`
	// Server, for an agent without one in its process, is where the API is, as
	// https://HOST:PORT, and Token a join token, needed until the node has joined.
	Server  string `json:"server,omitempty"`
	Token   string `json:"token,omitempty"`
	MaxPods int    `json:"maxPods,omitempty"`
}

// Read returns the configuration in a file.
func Read(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Write stores the configuration in a file that only its owner can read.
func (c *Config) Write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}
