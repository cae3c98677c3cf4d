// What a thread does before and after it uses tile registers: all eight get sixteen rows of 64 bytes, once a run.
#include "base/isa.h"
#include "base/x86/tiles.h"

namespace oaq {

#ifdef OAQ_EMULATED_TILES
EmulatedTiles& emulated_tiles() {
  static thread_local EmulatedTiles tiles{};
  return tiles;
}
#endif

void begin_tiles() {
  static constexpr TileShapes kWhole = tiles_of(kTileRows);
  configure_tiles(kWhole);
}

void end_tiles() { release_tiles(); }

}  // namespace oaq
