/* What a Cortex-M begins with under QEMU: two vectors, the float unit switched on, then newlib's start. */
#include <stdint.h>

extern uint32_t __stack;
void _start(void);
void reset(void);

void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  __asm volatile("dsb\n isb");
  _start();
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) void *const vectors[] = {&__stack, (void *)reset};
