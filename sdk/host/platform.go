package host

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"fmt"
	"io"
	"runtime"
)

// checkPlatform refuses a binary that is for another system or processor. What it
// does not know, a script for example, is left for the kernel to judge.
func checkPlatform(f io.ReaderAt) error {
	here := runtime.GOOS + "/" + runtime.GOARCH
	goos, arch := "", ""
	if b, err := elf.NewFile(f); err == nil {
		goos = "linux"
		if runtime.GOOS != "darwin" && runtime.GOOS != "windows" {
			goos = runtime.GOOS // the header does not tell the systems apart
		}
		arch = map[elf.Machine]string{
			elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
			elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64",
		}[b.Machine]
	} else if b, err := macho.NewFile(f); err == nil {
		goos, arch = "darwin", map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[b.Cpu]
	} else if b, err := pe.NewFile(f); err == nil {
		goos, arch = "windows", map[uint16]string{
			pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_I386: "386",
		}[b.Machine]
	}
	if goos == "" || arch == "" {
		return nil
	}
	if goos != runtime.GOOS || arch != runtime.GOARCH {
		return fmt.Errorf("is a binary for %s/%s, and this is %s", goos, arch, here)
	}
	return nil
}
