CREATE TABLE IF NOT EXISTS `gate_limits` (
  `id` TINYINT UNSIGNED NOT NULL,
  `unsealed_seconds` INT UNSIGNED NOT NULL,
  `anchor_seconds` INT UNSIGNED NOT NULL,
  `anchor_warn_seconds` INT UNSIGNED NOT NULL,
  `tenant_pending` INT UNSIGNED NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `gate_limits_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
