package local

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// table is the name of the cluster's nftables table on the machine.
func (c *Cluster) table() string { return "clipper-" + c.Name }

// raiseFirewall puts the cluster's table in place, replacing an earlier one in
// one transaction. With an uplink, what leaves the cluster hides behind the
// machine's address; without one, nothing is forwarded out of the bridge, even
// if a pod makes itself a route.
func (c *Cluster) raiseFirewall() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: c.table()}
	// Adding before deleting lets the deletion succeed in either case.
	conn.AddTable(t)
	conn.DelTable(t)
	conn.AddTable(t)
	if c.Uplink {
		// Packets that go from the cluster's block elsewhere than back onto its
		// bridge: ip saddr block, oifname != bridge -> masquerade.
		chain := conn.AddChain(&nftables.Chain{
			Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		block := c.Block.Masked().Addr().As4()
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append([]expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: block[:2]},
		}, append(ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, c.bridge()), &expr.Masq{})...)})
	} else {
		chain := conn.AddChain(&nftables.Chain{
			Table: t, Name: "forward", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(
			ifname(expr.MetaKeyIIFNAME, expr.CmpOpEq, c.bridge()),
			append(ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, c.bridge()),
				&expr.Verdict{Kind: expr.VerdictDrop})...)})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("writing nftables table %s: %w; the kernel needs CONFIG_NF_TABLES with nat and masquerade", c.table(), err)
	}
	if c.Uplink {
		if err := writeSysctl("net/ipv4/ip_forward", "1"); err != nil {
			return fmt.Errorf("letting the cluster out: %w; use --no-uplink if it need not reach the network", err)
		}
	}
	return nil
}

func ifname(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: padded},
	}
}

// dropFirewall removes the cluster's table, if it is there.
func (c *Cluster) dropFirewall() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: c.table()})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing nftables table %s: %w", c.table(), err)
	}
	return nil
}
